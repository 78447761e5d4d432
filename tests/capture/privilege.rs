//! What the program may still do once it captures.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use crate::file::File;
use crate::pair::{Datagram, Pair};
use crate::program::{Running, folder};

const FILTER: [&str; 2] = ["-f", "udp dst port 7000"];

/// The lines of a process's status, by their names.
fn status(process: u32, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap().trim().to_owned()
}

fn has_nothing(process: u32) {
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status(process, set), "0000000000000000", "{set}");
    }
    assert_eq!(status(process, "NoNewPrivs"), "1");
}

#[test]
fn capabilities_are_given_up_and_root_is_nobody() {
    let Some(pair) = Pair::new() else { return };
    let path = folder("capture-nobody").join("a.pcapng");
    let running =
        Running::start(&pair.left, &[&["-i", "one", "-c", "3", "-w", path.to_str().unwrap()], &FILTER[..]].concat());
    has_nothing(running.id());
    assert_eq!(status(running.id(), "Uid"), "65534\t65534\t65534\t65534");
    assert_eq!(status(running.id(), "Gid"), "65534\t65534\t65534\t65534");
    assert_eq!(status(running.id(), "Groups"), "");
    pair.send(&[Datagram::new(0, 0), Datagram::new(1, 0), Datagram::new(2, 0)]);
    running.wait().told("one: 3 packets captured");
    assert_eq!(File::whole(&path).sent_on("one"), [0, 1, 2]);
}

/// Packets that fill more than two files of a million bytes.
fn fill(pair: &Pair, from: u64) {
    let sent: Vec<Datagram> =
        (from..from + 2500).map(|number| Datagram { size: 900, ..Datagram::new(number, 0) }).collect();
    sent.chunks(100).for_each(|burst| pair.send(burst));
}

#[test]
fn files_are_made_in_the_folder_that_was_there_in_the_beginning() {
    let Some(pair) = Pair::new() else { return };
    for owner in [0, 1234] {
        let above = folder(&format!("capture-folder-{owner}"));
        let (before, after) = (above.join("before"), above.join("after"));
        fs::create_dir(&before).unwrap();
        fs::set_permissions(&before, fs::Permissions::from_mode(0o700)).unwrap();
        chown(&before, Some(owner), Some(owner)).unwrap();
        let path = before.join("a.pcapng");
        let args = [&["-i", "one", "-C", "1", "-c", "5000", "-w", path.to_str().unwrap()], &FILTER[..]].concat();
        let running = Running::start(&pair.left, &args);
        has_nothing(running.id());
        assert_eq!(status(running.id(), "Uid"), [owner.to_string().as_str(); 4].join("\t"));
        fill(&pair, 0);
        fs::rename(&before, &after).unwrap();
        // Whoever puts another folder there gets nothing, and a link in the folder is not followed.
        fs::create_dir(&before).unwrap();
        std::os::unix::fs::symlink(above.join("elsewhere"), after.join("a.pcapng4")).unwrap();
        fill(&pair, 2500);
        running.wait().told("one: 5000 packets captured");
        assert_eq!(fs::read_dir(&before).unwrap().count(), 0);
        assert!(!above.join("elsewhere").exists());
        let names = ["a.pcapng", "a.pcapng1", "a.pcapng2", "a.pcapng3", "a.pcapng4"];
        let files = names.map(|name| after.join(name));
        let kept: Vec<u64> = files.iter().flat_map(|file| File::whole(file).sent_on("one")).collect();
        assert_eq!(kept, (0..5000).collect::<Vec<_>>());
        let owner_of = |path: &Path| fs::symlink_metadata(path).unwrap().uid();
        assert!(files.iter().skip(1).all(|file| owner_of(file) == owner));
    }
}

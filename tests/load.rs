//! Loading snapshots from disk: folders, archives, and what hostile or broken ones get.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use flowtrace::load::{broken_endpoint_slices, endpoint_slices, load, load_files};
use flowtrace::net::{NetnsName, NodeName, PodName};
use flowtrace::snapshot::Snapshot;

const ROUTE: &str = "10.244.1.0/24 dev eth0 proto kernel scope link src 10.244.1.5\n";

/// A folder that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("flowtrace-load-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn gaps(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.gaps.iter().map(|gap| gap.what.as_str()).collect()
}

fn has_gap(snapshot: &Snapshot, words: &[&str]) -> bool {
    gaps(snapshot).iter().any(|gap| words.iter().all(|word| gap.contains(word)))
}

fn refusal(path: &Path) -> String {
    load(path).unwrap_err().to_string()
}

fn dirs(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.namespaces.iter().map(|netns| netns.dir.as_str()).collect()
}

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/vxlan")
}

/// What was loaded, as far as its order is fixed.
fn shown(snapshot: &Snapshot) -> String {
    let tables = snapshot.namespaces.iter().map(|netns| {
        format!(
            "{} {} {:?} {:?} {:?} {:?} {:?} {:?}",
            netns.node,
            netns.name,
            netns.links,
            netns.addrs,
            netns.routes.as_ref().map(|routes| routes.rows().to_vec()),
            netns.rules,
            netns.neighs,
            netns.fdb
        )
    });
    format!("{:?} {:?} {:?}", tables.collect::<Vec<_>>(), snapshot.kube, snapshot.gaps)
}

fn tar(folder: &Path, inside: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_dir_all(inside, folder).unwrap();
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_folder_and_its_archives_are_the_same_snapshot() {
    let folder = load(&testdata()).unwrap();
    assert!(folder.namespaces.len() > 4);
    let zstd = |bytes: &[u8]| ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest);
    let there = Folder::new();
    for (name, inside) in [("bare", "."), ("led", "case42"), ("deep", "support/2026/case42")] {
        let plain = tar(&testdata(), inside);
        there
            .write(name, &plain)
            .write(&format!("{name}-gz"), gzip(&plain))
            .write(&format!("{name}-zst"), zstd(&plain));
        for suffix in ["", "-gz", "-zst"] {
            let archive = load(&there.0.join(format!("{name}{suffix}"))).unwrap();
            assert_eq!(shown(&archive), shown(&folder), "{name}{suffix}");
        }
    }
    there.write("bundle/logs/x", "x");
    fs::create_dir_all(there.0.join("bundle/a/b")).unwrap();
    copy(&testdata(), &there.0.join("bundle/a/b/snapshot"));
    assert_eq!(shown(&load(&there.0.join("bundle")).unwrap()), shown(&folder));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn files_at_hand_are_the_same_snapshot() {
    let folder = load(&testdata()).unwrap();
    let mut files = Vec::new();
    collect(&testdata(), "", &mut files);
    assert_eq!(shown(&load_files(files).unwrap()), shown(&folder));
}

fn collect(dir: &Path, prefix: &str, files: &mut Vec<(String, Arc<str>)>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = format!("{prefix}{}", entry.file_name().into_string().unwrap());
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &format!("{path}/"), files);
        } else {
            files.push((path, Arc::from(fs::read_to_string(entry.path()).unwrap())));
        }
    }
}

#[test]
fn a_namespace_is_its_folder_even_if_it_is_empty() {
    let there = Folder::new();
    fs::create_dir_all(there.0.join("nodes/n1/host")).unwrap();
    there.write("nodes/n1/pods/shop_web_1/route.txt", ROUTE).write("nodes/n2/pods/odd/route.txt", ROUTE);
    let snapshot = load(&there.0).unwrap();
    assert_eq!(dirs(&snapshot), ["nodes/n1/host", "nodes/n1/pods/shop_web_1", "nodes/n2/pods/odd"]);
    let web = NetnsName::Pod(PodName::new("shop", "web_1"));
    let id = snapshot.find_netns(&NodeName::new("n1"), &web).unwrap();
    assert_eq!(snapshot.netns(id).name.to_string(), "pod:shop/web_1");
    assert!(has_gap(&snapshot, &["nodes/n2/pods/odd", "default/odd"]));
    assert!(snapshot.namespaces[0].routes.is_none() && snapshot.namespaces[0].links.is_none());
}

#[test]
fn what_is_no_snapshot_says_why() {
    let there = Folder::new();
    there
        .write("text", "hello")
        .write("empty", "")
        .write("a/nodes/n1/host/link.txt", "")
        .write("b/nodes/n1/host/x", "");
    fs::create_dir_all(there.0.join("c/nodes")).unwrap();
    assert!(refusal(&there.0.join("absent")).contains("absent"));
    assert!(refusal(&there.0.join("text")).contains("tar.zst"));
    assert!(refusal(&there.0.join("empty")).contains("tar.zst"));
    assert!(refusal(&there.0.join("c")).contains("no snapshot"));
    let both = refusal(&there.0);
    assert!(both.contains("several snapshots") && both.contains("/a,") && both.contains("/b"), "{both}");
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_dir_all("x", there.0.join("a")).unwrap();
    builder.append_dir_all("y", there.0.join("b")).unwrap();
    there.write("two.tar", builder.into_inner().unwrap());
    let both = refusal(&there.0.join("two.tar"));
    assert!(both.contains("x/, y/"), "{both}");
}

#[test]
fn links_out_of_the_snapshot_are_refused_and_links_inside_are_followed() {
    let (there, outside) = (Folder::new(), Folder::new());
    outside.write("secret", ROUTE).write("pod/route.txt", ROUTE);
    there.write("nodes/n1/host/sysctl", "net.ipv4.ip_forward = 1\n").write("nodes/n1/pods/a_b/route.txt", ROUTE);
    symlink(outside.0.join("secret"), there.0.join("nodes/n1/host/route.txt")).unwrap();
    symlink(outside.0.join("pod"), there.0.join("nodes/n1/pods/a_c")).unwrap();
    symlink("route.txt", there.0.join("nodes/n1/pods/a_b/route6.txt")).unwrap();
    symlink("loop", there.0.join("nodes/n1/host/link.txt")).unwrap();
    symlink("link.txt", there.0.join("nodes/n1/host/loop")).unwrap();
    let snapshot = load(&there.0).unwrap();
    assert_eq!(dirs(&snapshot), ["nodes/n1/host", "nodes/n1/pods/a_b"]);
    assert!(snapshot.namespaces[0].routes.is_none() && snapshot.namespaces[0].sysctls.is_some());
    assert!(snapshot.namespaces[1].routes6.is_some());
    assert!(has_gap(&snapshot, &["nodes/n1/host/route.txt", "leaves the snapshot"]));
    assert!(has_gap(&snapshot, &["nodes/n1/pods/a_c", "leaves the snapshot"]));
    assert!(has_gap(&snapshot, &["nodes/n1/host/link.txt", "can't be read"]));
}

#[test]
fn a_named_pipe_or_a_folder_in_place_of_a_file_is_not_opened() {
    let there = Folder::new();
    fs::create_dir_all(there.0.join("nodes/n1/host/link.txt")).unwrap();
    let pipe = there.0.join("nodes/n1/host/addr.txt");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let snapshot = load(&there.0).unwrap();
    assert!(has_gap(&snapshot, &["link.txt", "is not a file"]) && has_gap(&snapshot, &["addr.txt", "is not a file"]));
    assert!(load(&pipe).is_err());
}

#[test]
fn binary_files_are_unknown_and_stray_bytes_are_replaced() {
    let there = Folder::new();
    there.write("nodes/n1/host/route.txt", b"10.0.0.0/24\0dev eth0\n");
    there.write("nodes/n1/host/sysctl", b"net.ipv4.ip_forward = 1\nnet.x = \xff\n");
    there.write("nodes/n1/host/conntrack", b"\xef\xbb\xbf");
    let snapshot = load(&there.0).unwrap();
    let host = &snapshot.namespaces[0];
    assert!(host.routes.is_none() && has_gap(&snapshot, &["route.txt", "not text"]));
    let forward = host.sysctls.as_ref().and_then(|sysctls| sysctls.number("net.ipv4.ip_forward"));
    assert_eq!(forward.map(|(value, _)| value), Some(1));
    assert!(has_gap(&snapshot, &["sysctl", "not UTF-8"]));
    assert_eq!(host.conntrack.as_deref(), Some(&[][..]));
}

#[test]
fn hostile_entries_of_an_archive_are_named_and_the_rest_is_loaded() {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, kind) in [
        ("s/nodes/n1/host/sysctl", tar::EntryType::Regular),
        ("s/nodes/n1/host/route.txt", tar::EntryType::Symlink),
        ("s/var/log/link", tar::EntryType::Symlink),
        ("../../etc/cron.d/x", tar::EntryType::Regular),
    ] {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_cksum();
        builder.append(&header, &b""[..]).unwrap();
    }
    let there = Folder::new();
    there.write("x.tar.gz", gzip(&builder.into_inner().unwrap()));
    let snapshot = load(&there.0.join("x.tar.gz")).unwrap();
    assert_eq!(gaps(&snapshot).len(), 2, "{:?}", gaps(&snapshot));
    assert!(has_gap(&snapshot, &["s/nodes/n1/host/route.txt", "symbolic link"]));
    assert!(has_gap(&snapshot, &["../../etc/cron.d/x", ".."]));
    assert!(snapshot.namespaces[0].sysctls.is_some());
}

#[test]
fn an_empty_link_file_does_not_hide_its_json() {
    let folder = Folder::new();
    let json =
        r#"[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"mtu":65536,"operstate":"UNKNOWN"}]"#;
    folder.write("nodes/a/host/link.txt", "").write("nodes/a/host/link.json", json);
    folder.write("nodes/a/host/neigh.txt", "").write("nodes/a/host/neigh.json", "[]");
    let snapshot = load(&folder.0).unwrap();
    assert_eq!(snapshot.namespaces[0].links.as_ref().unwrap().len(), 1);
    assert!(has_gap(&snapshot, &["link.txt shows nothing, and link.json counts"]));
    assert!(!has_gap(&snapshot, &["the text counts"]) && !has_gap(&snapshot, &["neigh"]), "{:?}", gaps(&snapshot));
}

#[test]
fn the_line_at_which_broken_endpoint_slices_end_counts_the_empty_ones_above() {
    let line = |text: &str| {
        let files = [("nodes/a/host/route.txt", ""), ("cluster/endpointslices.json", text)];
        let snapshot = load_files(files.map(|(path, text)| (path.to_owned(), Arc::from(text)))).unwrap();
        broken_endpoint_slices(&snapshot).map(|gap| gap.evidence[0].line)
    };
    assert_eq!(line("\n\n{\n  \"items\": [\n\n"), Some(4));
    assert_eq!(line("\n\nError from server\n{}\n"), Some(3));
    assert_eq!(line("{\n  \"items\": ["), Some(2));
    assert_eq!(line("\n{\"items\": []}\n\n"), None);
    assert_eq!(line(" \n"), None);
}

#[test]
fn a_recent_folder_without_lists_is_known_to_be_empty() {
    let there = Folder::new();
    fs::create_dir_all(there.0.join("nodes/n1/host/recent")).unwrap();
    there.write("nodes/n2/host/recent/KUBE-SEP-A", "src=10.0.0.1 ttl: 64 last_seen: 9 oldest_pkt: 1 9\n");
    there.write("nodes/n3/host/sysctl", "");
    let snapshot = load(&there.0).unwrap();
    assert_eq!(snapshot.namespaces[0].recent.as_ref().map(std::collections::BTreeMap::len), Some(0));
    assert_eq!(snapshot.namespaces[1].recent.as_ref().and_then(|lists| lists.get("KUBE-SEP-A")).map(Vec::len), Some(1));
    assert!(snapshot.namespaces[2].recent.is_none());
}

/// A small generator, so that a failure can be run again.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit.max(1)
    }
}

#[test]
fn broken_files_of_every_kind_load_with_gaps_and_never_panic() {
    let mut files = Vec::new();
    collect(&testdata(), "", &mut files);
    files.sort();
    let alphabet: Vec<char> = "\n\t {}[]\",:/-0f\u{1b}ü".chars().collect();
    for seed in 0..60 {
        let mut random = Seeded(seed);
        let broken = files.iter().map(|(path, text)| {
            let mut chars: Vec<char> = text.chars().collect();
            for _ in 0..random.below(4) {
                let at = random.below(chars.len());
                if let Some(place) = chars.get_mut(at) {
                    *place = alphabet[random.below(alphabet.len())];
                }
            }
            if random.below(3) == 0 {
                chars.truncate(random.below(chars.len()));
            }
            (path.clone(), Arc::from(chars.into_iter().collect::<String>()))
        });
        let snapshot = load_files(broken).unwrap();
        assert!(!snapshot.gaps.is_empty() && snapshot.gaps.len() < 20_000, "seed {seed}: {}", snapshot.gaps.len());
    }
}

#[test]
fn a_snapshot_without_any_one_of_its_files_loads() {
    let mut files = Vec::new();
    collect(&testdata(), "", &mut files);
    let mut names: Vec<String> = files.iter().map(|(path, _)| path.rsplit('/').next().unwrap().to_owned()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let rest = files.iter().filter(|(path, _)| !path.ends_with(&format!("/{name}"))).cloned();
        let snapshot = load_files(rest).unwrap();
        assert!(snapshot.namespaces.len() > 4, "{name}");
    }
}

/// In a folder the endpoint slices stay on disk until somebody asks for them; what they hold is the same.
#[test]
fn endpoint_slices_on_disk_are_read_when_they_are_asked_for() {
    let slice = r#"{"kind":"List","items":[
{"metadata":{"name":"web-1","namespace":"shop","labels":{"kubernetes.io/service-name":"web"}},
 "endpoints":[{"addresses":["10.244.2.2"]}]}
]}
"#;
    let there = Folder::new();
    there.write("nodes/n1/host/route.txt", ROUTE).write("cluster/endpointslices.json", slice);
    let snapshot = load(&there.0).unwrap();
    assert_eq!(broken_endpoint_slices(&snapshot), None);
    let (slices, gaps) = endpoint_slices(&snapshot).unwrap();
    assert_eq!((slices.len(), gaps.len()), (1, 0));
    assert!(snapshot.files.text(slices[0].evidence).contains("web-1"));

    there.write("cluster/endpointslices.json", slice.trim_end().trim_end_matches('}'));
    let snapshot = load(&there.0).unwrap();
    let gap = broken_endpoint_slices(&snapshot).unwrap();
    assert_eq!(snapshot.files.text(gap.evidence[0]), "]");

    there.write("cluster/endpointslices.json", b"{\n\0}");
    let snapshot = load(&there.0).unwrap();
    let (_, gaps) = endpoint_slices(&snapshot).unwrap();
    assert!(gaps[0].what.contains("is not text (line 2"), "{gaps:?}");
    assert_eq!(broken_endpoint_slices(&snapshot).unwrap().what, gaps[0].what);
    there.write("cluster/endpointslices.json", b"{\"items\": [], \"x\": \"\xff\"}\n");
    let snapshot = load(&there.0).unwrap();
    let (_, gaps) = endpoint_slices(&snapshot).unwrap();
    assert!(gaps[0].what.contains("is not UTF-8"), "{gaps:?}");
    assert_eq!(broken_endpoint_slices(&snapshot).unwrap().what, gaps[0].what);
}

use std::io::Write;

use super::*;

const LINK: &str = "nodes/n1/host/link.txt";

/// A tar archive of plain files.
fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        append(&mut builder, path, EntryType::Regular, content);
    }
    builder.into_inner().unwrap()
}

/// Writes the name as it is, which `tar` itself would refuse to.
fn append(builder: &mut tar::Builder<Vec<u8>>, path: &str, kind: EntryType, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_cksum();
    builder.append(&header, content).unwrap();
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

fn read(bytes: &[u8]) -> Result<Bundle, String> {
    super::read(bytes, Limits { total: 1 << 20, file: 64 << 10, entries: 100 })
}

fn text(text: &str) -> Content {
    Content::Text(Text::from(text))
}

fn refused(bundle: &Bundle) -> Vec<(&str, &str)> {
    bundle.refused.iter().map(|entry| (entry.path.as_str(), entry.why)).collect()
}

#[test]
fn every_format_is_known_by_its_content() {
    let plain = tar(&[(LINK, b"1: lo"), ("nodes/n1/host/other", b"x"), ("./cluster//pods.json", b"{}")]);
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3], zstd(&plain).as_slice()].concat();
    let (one, other) = plain.split_at(700);
    let frames = [zstd(one), zstd(other)].concat();
    let members = [gzip(one), gzip(other)].concat();
    for bytes in [plain.clone(), gzip(&plain), zstd(&plain), skippable, frames, members] {
        let bundle = read(&bytes).unwrap();
        assert_eq!(bundle.files.get(LINK), Some(&text("1: lo")));
        assert_eq!(bundle.files.keys().collect::<Vec<_>>(), ["cluster/pods.json", LINK]);
        assert_eq!(refused(&bundle), []);
    }
}

#[test]
fn names_that_lead_out_are_refused_and_named() {
    let mut builder = tar::Builder::new(Vec::new());
    append(&mut builder, "../nodes/n1/host/link.txt", EntryType::Regular, b"x");
    append(&mut builder, "/nodes/n1/host/link.txt", EntryType::Regular, b"x");
    append(&mut builder, "nodes/n1/host/../../../etc/passwd", EntryType::Regular, b"x");
    append(&mut builder, LINK, EntryType::Symlink, b"");
    append(&mut builder, "nodes/n1/host/addr.txt", EntryType::Link, b"");
    append(&mut builder, "nodes/n1/host/fdb.txt", EntryType::Char, b"");
    append(&mut builder, "nodes/n1/host/sysctl", EntryType::Fifo, b"");
    append(&mut builder, "nodes/n1/host/neigh.txt", EntryType::Regular, b"fine");
    let bundle = read(&builder.into_inner().unwrap()).unwrap();
    assert_eq!(bundle.files.keys().collect::<Vec<_>>(), ["nodes/n1/host/neigh.txt"]);
    let why: Vec<&str> = bundle.refused.iter().map(|entry| entry.why).collect();
    assert_eq!(
        why,
        [
            "has `..` in its name",
            "has an absolute name",
            "has `..` in its name",
            "is a symbolic link",
            "is a hard link",
            "is a device",
            "is a named pipe"
        ]
    );
    assert!(bundle.refused.iter().take(3).all(|entry| entry.everywhere));
}

#[test]
fn long_names_of_both_kinds_are_read() {
    let node = "n".repeat(120);
    let path = format!("nodes/{node}/host/link.txt");
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(2);
    builder.append_data(&mut header, &path, &b"gn"[..]).unwrap();
    builder.append_pax_extensions([("path", path.replace("link", "addr").as_bytes())]).unwrap();
    append(&mut builder, "cut", EntryType::Regular, b"pax");
    let bundle = read(&builder.into_inner().unwrap()).unwrap();
    assert_eq!(bundle.files.get(&path), Some(&text("gn")));
    assert_eq!(bundle.files.get(&path.replace("link", "addr")), Some(&text("pax")));
}

#[test]
fn a_bomb_ends_at_the_limit() {
    let bomb = tar(&[("anything", &vec![0; 2 << 20])]);
    for bytes in [bomb.clone(), gzip(&bomb), zstd(&bomb)] {
        assert_eq!(read(&bytes).unwrap_err(), "the archive unpacks to more than 1 MiB, which no snapshot does");
    }
    let many: Vec<(&str, &[u8])> = vec![("x", b""); 101];
    assert!(read(&tar(&many)).unwrap_err().contains("more than 100 entries"));
    let mut name = tar::Builder::new(Vec::new());
    append(&mut name, "././@LongLink", EntryType::GNULongName, &vec![b'n'; 70 << 10]);
    assert!(read(&name.into_inner().unwrap()).unwrap_err().contains("name"));
}

#[test]
fn a_large_file_is_refused_and_the_rest_is_read() {
    let bundle = read(&tar(&[(LINK, &vec![b'x'; 65 << 10]), ("nodes/n1/host/addr.txt", b"1")])).unwrap();
    assert_eq!(refused(&bundle), [(LINK, TOO_LARGE)]);
    assert_eq!(bundle.files.len(), 1);
}

#[test]
fn the_last_of_two_entries_stays_and_both_are_told() {
    let bundle = read(&tar(&[(LINK, b"old"), (LINK, b"new")])).unwrap();
    assert_eq!(bundle.files.get(LINK), Some(&text("new")));
    assert_eq!(bundle.refused.len(), 1);
}

#[test]
fn a_cut_archive_is_an_error_at_every_length() {
    let plain = tar(&[(LINK, b"1: lo: <UP>"), ("nodes/n1/host/addr.txt", &[b'a'; 1000])]);
    for end in (513..plain.len() - 1024).step_by(7).filter(|end| !matches!(end, 1024)) {
        let err = read(&plain[..end]).unwrap_err();
        assert!(err.contains("damaged or cut off"), "{end}: {err}");
    }
    for packed in [gzip(&plain), zstd(&plain)] {
        for end in 4..packed.len() {
            assert!(read(&packed[..end]).is_err(), "{end} of {}", packed.len());
        }
    }
}

#[test]
fn an_archive_cut_between_two_entries_is_unfinished() {
    let plain = tar(&[(LINK, b"1: lo: <UP>"), ("nodes/n1/host/addr.txt", b"a")]);
    assert!(!read(&plain).unwrap().unfinished);
    let cut = read(&plain[..1024]).unwrap();
    assert!(cut.unfinished && cut.files.len() == 1);
}

#[test]
fn changed_bytes_never_panic() {
    let plain = tar(&[(LINK, b"1: lo: <UP>"), ("nodes/n1/host/addr.txt", &[b'a'; 1000])]);
    for bytes in [plain.clone(), gzip(&plain), zstd(&plain)] {
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x55;
            let _ = read(&changed);
        }
    }
}

#[test]
fn what_is_no_archive_says_what_would_be() {
    for bytes in [&b""[..], b"1: lo: <LOOPBACK>", &[0x89; 600], b"PK\x03\x04"] {
        assert!(read(bytes).unwrap_err().contains("tar.zst"));
    }
    assert!(read(&gzip(b"not a tar")).unwrap_err().contains("damaged"));
}

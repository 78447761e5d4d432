//! The settings of a namespace, as `sysctl -a` prints those of `net`.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const ROOT: &str = "/proc/sys";

/// Keys of TCP fast open and of IPv6's private addresses. A snapshot goes from hand to hand.
const SECRETS: [&str; 2] = ["stable_secret", "tcp_fastopen_key"];

/// A device's name may be any of these settings' folders, so that there is no end to trust but this one.
const DEPTH: u32 = 8;

/// Every setting that can be read of the calling thread's namespace.
pub(super) fn text() -> String {
    let mut text = String::new();
    read(&Path::new(ROOT).join("net"), "net", DEPTH, &mut text);
    text
}

fn read(folder: &Path, key: &str, depth: u32, text: &mut String) {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut entries: Vec<_> =
        entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry))).collect();
    entries.sort_by(|one, other| one.0.cmp(&other.0));
    for (name, entry) in entries {
        let Ok(metadata) = entry.metadata() else { continue };
        // A dot in a device's name is no end of a word: procps writes a slash there.
        let key = format!("{key}.{}", name.replace('.', "/"));
        if metadata.is_dir() {
            if depth > 0 {
                read(&entry.path(), &key, depth - 1, text);
            }
        } else if metadata.permissions().mode() & 0o444 != 0 && !SECRETS.contains(&name.as_str()) {
            let value = fs::read(entry.path()).unwrap_or_default();
            for line in String::from_utf8_lossy(&value).lines() {
                let _ = writeln!(text, "{key} = {line}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_secrets_are_not() {
        let text = text();
        assert!(text.lines().any(|line| line.starts_with("net.ipv4.ip_forward = ")), "{text}");
        assert!(text.lines().all(|line| line.starts_with("net.") && line.contains(" = ")));
        assert!(!text.contains("stable_secret") && !text.contains("tcp_fastopen_key"));
    }
}

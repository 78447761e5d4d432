//! Which device a line of a snapshot is about, and what is wrong with it there.

use crate::evidence::{Evidence, Files};

use super::missing;

/// A device, by the row of `ip link` or `bridge link` that is quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Device<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// Its namespace: `on n1`.
    pub(super) place: String,
    /// What keeps it from carrying anything.
    pub(super) state: State<'a>,
}

/// What a device's row says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State<'a> {
    /// Nothing is wrong.
    Up,
    /// It is switched off.
    Down,
    /// It is on, and its other side is not.
    NoCarrier,
    /// It is a port of a bridge that does not forward: `blocking`, `disabled`, ….
    Port(&'a str),
}

/// The states of a bridge port in which it forwards nothing (`ip link`'s words, `port_states` in iproute2).
const CLOSED: &[&str] = &["disabled", "listening", "learning", "blocking"];

/// The device that a line is about, where it is a row of a table of devices.
pub(super) fn device(line: Evidence, files: &Files) -> Option<Device<'_>> {
    let head = head(line, files);
    let row = files.text(head);
    let name = name(row)?;
    let (flags, rest) = row.split_once(": <")?.1.split_once('>')?;
    // `ip -d link` tells a port's own state on another line than the device's.
    let port = files.text(line).split_once("bridge_slave state ").or_else(|| rest.split_once(" state "));
    let word = port.map_or("", |(_, rest)| rest.split(' ').next().unwrap_or(""));
    let state = if !flags.split(',').any(|flag| flag == "UP") {
        State::Down
    } else if flags.split(',').any(|flag| flag == "NO-CARRIER") {
        State::NoCarrier
    } else {
        CLOSED.iter().find(|state| **state == word).map_or(State::Up, |state| State::Port(state))
    };
    let folder = files.path(line).strip_prefix("nodes/")?.rsplit_once('/')?.0;
    Some(Device { name, place: missing::place(folder), state })
}

/// The name of the device whose row a line begins.
pub(super) fn name(row: &str) -> Option<&str> {
    let (number, rest) = row.split_once(": ")?;
    number.trim().parse::<u32>().ok()?;
    let (name, _) = rest.split_once(": <")?;
    Some(name.split_once('@').map_or(name, |(name, _)| name))
}

/// The first line of a row that goes on, indented, below it (`ip -d`, `bridge -d`).
pub(super) fn head(line: Evidence, files: &Files) -> Evidence {
    let Some(file) = files.get(line.file).filter(|_| line.index.is_none()) else { return line };
    let starts = |number: &u32| !file.line(*number).starts_with([' ', '\t']);
    let number = (1..=line.line).rev().take(LONGEST_ROW).find(starts).unwrap_or(line.line);
    Evidence { line: number, ..line }
}

/// How many lines a row has at most.
const LONGEST_ROW: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_devices_row_tells_its_name_its_place_and_its_state() {
        let mut files = Files::default();
        let text = "2: eth0@if12: <NO-CARRIER,BROADCAST,UP> mtu 1500 state LOWERLAYERDOWN\n    link/ether 02:00\n\
            3: cni0: <BROADCAST,MULTICAST> mtu 1500 state DOWN\n\
            4: veth1@eth0: <BROADCAST,UP,LOWER_UP> mtu 1500 master cni0 state blocking priority 32\n    hairpin off\n\
            5: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 state UNKNOWN\n10.0.0.0/8 dev eth0\n";
        let host = files.add("nodes/n1/host/link.txt", text);
        let pod = files.add("nodes/n1/pods/shop_web-0/link.txt", text);
        let told = |file, line| {
            let found = device(Evidence::line(file, line), &files)?;
            Some((found.name.to_owned(), found.place, found.state))
        };
        let on = |name: &str, state| Some((name.to_owned(), "on n1".to_owned(), state));
        assert_eq!(told(host, 2), on("eth0", State::NoCarrier));
        assert_eq!(told(host, 3), on("cni0", State::Down));
        assert_eq!(told(host, 5), on("veth1", State::Port("blocking")));
        assert_eq!(told(host, 6), on("lo", State::Up));
        assert_eq!(told(host, 7), None);
        assert_eq!(told(pod, 3).unwrap().1, "in the network namespace of pod shop/web-0 on n1");
    }
}

//! Several devices in one file.

use std::time::Duration;

use crate::file::File;
use crate::pair::{Datagram, PORT, Pair, send};
use crate::program::{Running, folder};

const ETHERNET: u16 = 1;
const SLL2: u16 = 276;

#[test]
fn each_packet_of_each_device_is_in_the_file_in_the_order_in_which_it_was_sent() {
    let Some(pair) = Pair::new() else { return };
    let path = folder("capture-several").join("a.pcapng");
    let file = path.to_str().unwrap();
    let running = Running::start(&pair.left, &["-i", "one,two", "-f", "udp dst port 7000", "-w", file]);
    // In bursts, so that the devices' packets are read at different times.
    let sent: Vec<Datagram> = (0..120).map(|number| Datagram::new(number, (number / 7 % 2) as u8)).collect();
    for burst in sent.chunks(20) {
        pair.send(burst);
        pair.send(&[Datagram { port: PORT + 1, ..Datagram::new(1000, 0) }]);
        std::thread::sleep(Duration::from_millis(70));
    }
    let done = running.interrupt();
    let file = File::whole(&path);
    assert_eq!(file.interfaces, [("one".to_owned(), ETHERNET), ("two".to_owned(), ETHERNET)]);
    let name = |link: u8| ["one", "two"][usize::from(link)].to_owned();
    let wanted: Vec<(String, u64)> = sent.iter().map(|datagram| (name(datagram.link), datagram.number)).collect();
    assert_eq!(file.sent(), wanted);
    assert_eq!(file.packets.len(), wanted.len(), "nothing passes the filter beside");
    assert!(file.packets.is_sorted_by_key(|packet| packet.time));
    assert!(file.packets.iter().any(|packet| packet.time % 1000 != 0), "the times are nanoseconds");
    assert!(file.packets.iter().all(|packet| packet.length as usize == packet.bytes.len() && packet.length == 50));
    for (place, name) in ["one", "two"].iter().enumerate() {
        let count = file.sent_on(name).len() as u64;
        assert_eq!(file.statistics[place], [count, 0, count]);
        done.told(&format!("{name}: {count} packets captured, {count} received by filter, 0 dropped by kernel\n"));
    }
}

#[test]
fn a_node_that_is_named_is_in_the_names_of_the_devices() {
    let Some(pair) = Pair::new() else { return };
    let path = folder("capture-node").join("a.pcapng");
    let running = Running::start(&pair.left, &["-i", "one,two", "--node", "n1", "-w", path.to_str().unwrap()]);
    pair.send(&[Datagram::new(1, 0)]);
    running.interrupt();
    assert_eq!(File::whole(&path).interfaces, [("n1/one".to_owned(), ETHERNET), ("n1/two".to_owned(), ETHERNET)]);
}

#[test]
fn packets_are_cut_at_the_snapshot_length() {
    let Some(pair) = Pair::new() else { return };
    let path = folder("capture-snapshot-length").join("a.pcapng");
    let args = ["-i", "one", "-f", "udp", "-s", "60", "-c", "1", "-w", path.to_str().unwrap()];
    let running = Running::start(&pair.left, &args);
    pair.send(&[Datagram { size: 500, ..Datagram::new(7, 0) }]);
    running.wait().told("one: 1 packets captured");
    let file = File::whole(&path);
    assert_eq!((file.packets[0].bytes.len(), file.packets[0].length), (60, 542));
    assert_eq!(file.sent_on("one"), [7]);
}

#[test]
fn any_tells_which_way_each_packet_went() {
    let Some(pair) = Pair::new() else { return };
    let path = folder("capture-any").join("a.pcapng");
    let args = ["-i", "any,two", "-f", "udp dst port 7000", "-w", path.to_str().unwrap()];
    let running = Running::start(&pair.left, &args);
    pair.send(&[Datagram::new(1, 0), Datagram::new(2, 1)]);
    pair.right.enter(|| {
        let socket = std::net::UdpSocket::bind("10.9.0.2:0").unwrap();
        socket.send_to(&3_u64.to_be_bytes(), "10.9.0.1:7000").unwrap();
    });
    running.interrupt().told("any: 3 packets captured");
    let file = File::whole(&path);
    assert_eq!(file.interfaces, [("any".to_owned(), SLL2), ("two".to_owned(), ETHERNET)]);
    let seen = |name: &str| {
        let packets = file.packets.iter().filter(|packet| file.name(packet) == name);
        packets.map(|packet| (packet.number().unwrap(), packet.flags)).collect::<Vec<_>>()
    };
    assert_eq!(seen("any"), [(1, Some(2)), (2, Some(2)), (3, Some(5))]);
    assert_eq!(seen("two"), [(2, None)]);
}

#[test]
fn loopback_packets_are_captured_once() {
    let Some(pair) = Pair::new() else { return };
    let path = folder("capture-loopback").join("a.pcapng");
    let args = ["-i", "lo,one", "-f", "udp dst port 7000", "-w", path.to_str().unwrap()];
    let running = Running::start(&pair.left, &args);
    pair.left.enter(|| {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for number in 0..3_u64 {
            let _ = socket.send_to(&number.to_be_bytes(), "127.0.0.1:7000");
        }
        send(&[Datagram::new(9, 0)]);
    });
    running.interrupt().told("lo: 3 packets captured");
    let file = File::whole(&path);
    assert_eq!((file.sent_on("lo"), file.sent_on("one")), (vec![0, 1, 2], vec![9]));
}

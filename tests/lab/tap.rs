//! One packet socket for each namespace: every packet that a device hands up or sends out, in its order.

use std::collections::BTreeMap;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, recvmsg, setsockopt,
    socket, sockopt,
};

use super::netns::Netns;
use super::wire::Header;

/// A packet seen at a device.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// The namespace.
    pub space: String,
    /// The device.
    pub device: String,
    /// Which way.
    pub direction: Direction,
    /// Whether the frame's destination address was another machine's.
    pub other_host: bool,
    /// When, in nanoseconds.
    pub time: i64,
    /// The packet.
    pub header: Header,
    /// Its bytes, as the device showed them.
    pub frame: Vec<u8>,
    /// Whether they begin with the IP header.
    pub is_raw: bool,
}

/// Into the namespace, or out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The device handed it up.
    Receive,
    /// It left by the device.
    Transmit,
}

/// An ARP request or neighbour solicitation, or the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// Whether it is the question.
    pub asks: bool,
    /// The address in question, in hex.
    pub target: String,
}

/// The tap of one namespace.
pub struct Tap {
    space: String,
    socket: OwnedFd,
    devices: BTreeMap<usize, String>,
    /// Time never runs backwards within a namespace: a packet that a bridge hands up keeps its port's time stamp.
    latest: i64,
}

const PACKET_OUTGOING: u8 = 4;
const PACKET_OTHERHOST: u8 = 3;
const ARPHRD_NONE: u16 = 65534;

impl Tap {
    /// Opens the tap of a namespace whose devices all exist.
    pub fn open(netns: &Netns) -> Result<Self, String> {
        netns.enter(|| {
            let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
            let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)
                .map_err(|error| format!("packet socket: {error}"))?;
            setsockopt(&socket, sockopt::ReceiveTimestampns, &true).map_err(|error| format!("time stamps: {error}"))?;
            let _ = setsockopt(&socket, sockopt::RcvBufForce, &(4 << 20));
            let names = nix::net::if_::if_nameindex().map_err(|error| format!("devices: {error}"))?;
            let devices = names
                .iter()
                .map(|device| (device.index() as usize, device.name().to_string_lossy().into_owned()))
                .collect();
            Ok(Self { space: netns.name.clone(), socket, devices, latest: 0 })
        })
    }

    /// For `poll`.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Reads all that waits.
    pub fn read(&mut self, sightings: &mut Vec<Sighting>, resolutions: &mut Vec<Resolution>) {
        let mut buffer = vec![0_u8; 70_000];
        while let Some((length, address, time)) = self.receive(&mut buffer) {
            self.latest = self.latest.max(time);
            let frame = &buffer[..length];
            let header =
                if address.hatype() == ARPHRD_NONE { Header::from_ip(frame) } else { Header::from_ethernet(frame) };
            resolutions.extend(resolution(frame, header.as_ref()));
            let Some(header) = header else { continue };
            sightings.push(Sighting {
                space: self.space.clone(),
                device: self.devices.get(&address.ifindex()).cloned().unwrap_or_else(|| "?".to_owned()),
                direction: if address.pkttype() == PACKET_OUTGOING { Direction::Transmit } else { Direction::Receive },
                other_host: address.pkttype() == PACKET_OTHERHOST,
                time: self.latest,
                header,
                frame: frame.to_vec(),
                is_raw: address.hatype() == ARPHRD_NONE,
            });
        }
    }

    fn receive(&self, buffer: &mut [u8]) -> Option<(usize, LinkAddr, i64)> {
        let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
        let mut slices = [IoSliceMut::new(buffer)];
        let message =
            recvmsg::<LinkAddr>(self.socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::empty()).ok()?;
        let time = message.cmsgs().ok()?.find_map(|part| match part {
            ControlMessageOwned::ScmTimestampns(time) => Some(time.tv_sec() * 1_000_000_000 + time.tv_nsec()),
            _ => None,
        });
        Some((message.bytes, message.address?, time.unwrap_or(0)))
    }
}

/// What a frame asks or answers about a neighbour.
fn resolution(frame: &[u8], header: Option<&Header>) -> Option<Resolution> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    match header {
        None if frame.get(12..14)? == [0x08, 0x06] => {
            let asks = frame.get(20..22)? == [0, 1];
            Some(Resolution { asks, target: hex(if asks { frame.get(38..42)? } else { frame.get(28..32)? }) })
        }
        Some(Header { protocol: 58, icmp: Some((kind @ (135 | 136), _)), .. }) => {
            Some(Resolution { asks: *kind == 135, target: hex(frame.get(62..78)?) })
        }
        _ => None,
    }
}

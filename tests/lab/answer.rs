//! Programs that answer: a datagram goes back to where it came from, from the address that it was sent to; a SYN
//! meets a listener; an echo request is the kernel's matter.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::libc;
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, SockaddrIn, SockaddrIn6,
    SockaddrStorage, bind, listen, recvmsg, sendmsg, setsockopt, socket, sockopt,
};

use super::build::write_sysctls;
use super::netns::Netns;

/// A program in a namespace that answers on one port.
pub struct Server {
    /// The namespace.
    pub space: String,
    /// The port.
    pub port: u16,
    socket: OwnedFd,
    udp: bool,
}

/// Makes a socket whose IPv4 packets may be fragmented. There is no safe call for `IP_MTU_DISCOVER`, but a new socket
/// takes the namespace's `ip_no_pmtu_disc` over (`inet_create` in net/ipv4/af_inet.c), so it stands for a moment only.
pub fn socket_without_df(family: AddressFamily, kind: SockType) -> Result<OwnedFd, String> {
    let set = |value: &str| write_sysctls(&[("ipv4/ip_no_pmtu_disc".to_owned(), value.to_owned())]);
    set("1")?;
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let made = socket(family, kind, flags, None).map_err(|error| format!("socket: {error}"));
    set("0")?;
    made
}

impl Server {
    /// A server for UDP and one for TCP, in each address family.
    pub fn open(netns: &Netns, port: u16) -> Result<Vec<Self>, String> {
        netns.enter(|| {
            let mut servers = Vec::new();
            for family in [AddressFamily::Inet, AddressFamily::Inet6] {
                for udp in [true, false] {
                    let socket = bound(family, port, udp).map_err(|error| format!("server on port {port}: {error}"))?;
                    servers.push(Self { space: netns.name.clone(), port, socket, udp });
                }
            }
            Ok(servers)
        })
    }

    /// For `poll`.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Answers what waits; whether a datagram came.
    pub fn answer(&self) -> bool {
        if !self.udp {
            return false;
        }
        let mut came = false;
        let mut buffer = vec![0_u8; 70_000];
        while let Some(()) = self.answer_one(&mut buffer) {
            came = true;
        }
        came
    }

    fn answer_one(&self, buffer: &mut [u8]) -> Option<()> {
        let mut control = nix::cmsg_space!(libc::in_pktinfo, libc::in6_pktinfo);
        let mut slices = [IoSliceMut::new(buffer)];
        let fd = self.socket.as_raw_fd();
        let message = recvmsg::<SockaddrStorage>(fd, &mut slices, Some(&mut control), MsgFlags::empty()).ok()?;
        let (peer, length) = (message.address?, message.bytes);
        let info = message.cmsgs().ok()?.find_map(|part| match part {
            ControlMessageOwned::Ipv4PacketInfo(info) => Some(Info::V4(info)),
            ControlMessageOwned::Ipv6PacketInfo(info) => Some(Info::V6(info)),
            _ => None,
        })?;
        // An answer that went astray is not answered again.
        if buffer[..length].first() == Some(&ANSWER) {
            return Some(());
        }
        buffer[..length].iter_mut().take(1).for_each(|byte| *byte = ANSWER);
        let data = [IoSlice::new(&buffer[..length])];
        // The answer leaves from the address that was asked; by which device is the routes' decision.
        let control = match &info {
            Info::V4(info) => {
                let back = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: info.ipi_addr, ipi_addr: info.ipi_addr };
                return sendmsg(fd, &data, &[ControlMessage::Ipv4PacketInfo(&back)], MsgFlags::empty(), Some(&peer))
                    .map_or(Some(()), |_| Some(()));
            }
            Info::V6(info) => libc::in6_pktinfo { ipi6_addr: info.ipi6_addr, ipi6_ifindex: 0 },
        };
        let _ = sendmsg(fd, &data, &[ControlMessage::Ipv6PacketInfo(&control)], MsgFlags::empty(), Some(&peer));
        Some(())
    }
}

/// What an answer starts with; no probe does.
const ANSWER: u8 = b'A';

enum Info {
    V4(libc::in_pktinfo),
    V6(libc::in6_pktinfo),
}

fn bound(family: AddressFamily, port: u16, udp: bool) -> Result<OwnedFd, String> {
    let socket = socket_without_df(family, if udp { SockType::Datagram } else { SockType::Stream })?;
    let wrong = |error: nix::Error| error.to_string();
    setsockopt(&socket, sockopt::ReuseAddr, &true).map_err(wrong)?;
    let fd = socket.as_raw_fd();
    if family == AddressFamily::Inet {
        bind(fd, &SockaddrIn::new(0, 0, 0, 0, port)).map_err(wrong)?;
    } else {
        setsockopt(&socket, sockopt::Ipv6V6Only, &true).map_err(wrong)?;
        let any = std::net::SocketAddrV6::new(std::net::Ipv6Addr::UNSPECIFIED, port, 0, 0);
        bind(fd, &SockaddrIn6::from(any)).map_err(wrong)?;
    }
    match (udp, family) {
        (true, AddressFamily::Inet) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true).map_err(wrong)?,
        (true, _) => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true).map_err(wrong)?,
        _ => listen(&socket, Backlog::new(16).map_err(wrong)?).map_err(wrong)?,
    }
    Ok(socket)
}

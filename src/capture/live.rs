//! Live devices, read through libpcap. A device of another network namespace is opened by a thread that enters it: the
//! socket stays in the namespace that it was made in.

use std::borrow::Cow;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::signalfd::SignalFd;
use pcap::{Active, Capture, Linktype, Precision};

use crate::signals;

use super::{Captured, Direction, Interface, Reception, Statistics};

/// How long the kernel holds packets back to hand over many at once.
pub const BLOCK: Duration = Duration::from_millis(100);

/// The largest snapshot length that libpcap has.
pub const MOST_SNAP_LENGTH: u32 = 262_144;

/// The pseudo-device that stands for all of a namespace.
pub const ANY: &str = "any";

/// How many bytes the kernel holds for all devices until they are read, and for one at least and at most.
const BUFFERS: i32 = 128 << 20;
const BUFFER: [i32; 2] = [4 << 20, 32 << 20];

/// How many packets are read from a device before it is another one's turn.
const BATCH: usize = 1024;

/// Why nothing can be captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The process may not.
    Permission {
        /// The device's place among those that are wanted.
        place: usize,
        /// What libpcap says.
        words: String,
    },
    /// The device can't be opened, perhaps because there is none of this name.
    Device {
        /// The device's place among those that are wanted.
        place: usize,
        /// What libpcap says.
        words: String,
    },
    /// The filter is not one, or not one for this device.
    Filter {
        /// The place of the device that it was meant for.
        place: usize,
        /// What libpcap says.
        words: String,
    },
}

/// What to capture.
#[derive(Clone, Debug)]
pub struct Want {
    /// The devices.
    pub spots: Vec<Spot>,
    /// How many bytes of each packet are kept at most.
    pub snap_length: u32,
}

/// A device to capture on.
#[derive(Clone, Debug)]
pub struct Spot {
    /// What the interface is called in the file.
    pub name: String,
    /// What the device is called in its namespace.
    pub device: String,
    /// A filter in libpcap's words.
    pub filter: Option<String>,
    /// The network namespace, unless it is the present one.
    pub netns: Option<Arc<File>>,
}

/// Devices that are being captured on.
pub struct Live {
    devices: Vec<Device>,
    signals: SignalFd,
}

struct Device {
    interface: Interface,
    /// Nothing any more where the device has gone.
    handle: Option<Capture<Active>>,
    counted: Statistics,
    /// What libpcap counted last, in its 32 bits.
    last: [u32; 3],
    /// Whether it is in another network namespace.
    is_elsewhere: bool,
    /// Whether there may be more to read than was read.
    has_more: bool,
}

/// Why waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// There may be packets, or the time is over.
    Reading,
    /// A signal asks to end.
    Signal,
}

/// A device that is no longer there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// Its name.
    pub device: String,
    /// What libpcap says.
    pub words: String,
}

/// The names of the devices that libpcap finds in the calling thread's namespace; none where it can't tell.
#[must_use]
pub fn devices() -> Vec<String> {
    pcap::Device::list().unwrap_or_default().into_iter().map(|device| device.name).collect()
}

/// The same of another namespace.
#[must_use]
pub fn devices_of(netns: &File) -> Vec<String> {
    thread::scope(|scope| {
        let worker = scope.spawn(|| setns(netns, CloneFlags::CLONE_NEWNET).map_or_else(|_| Vec::new(), |()| devices()));
        worker.join().unwrap_or_default()
    })
}

/// The devices of the calling thread's namespace that are up, loopback devices and `any` left out.
#[must_use]
pub fn devices_up() -> Vec<String> {
    let is_up = |device: &pcap::Device| device.flags.is_up() && !device.flags.is_loopback() && device.name != ANY;
    let found = pcap::Device::list().unwrap_or_default().into_iter();
    found.filter(is_up).map(|device| device.name).filter(|name| is_of_network(name)).collect()
}

/// Whether a name of libpcap's list is a device of the network, and not what it has beside them.
#[must_use]
pub fn is_of_network(name: &str) -> bool {
    let others = ["bluetooth", "dbus-", "nflog", "nfqueue", "usbmon"];
    !others.iter().any(|other| name.starts_with(other))
}

impl Live {
    /// Opens every device. From now on SIGINT, SIGTERM and SIGHUP end no process but wake [`Live::wait`].
    pub fn open(want: &Want) -> Result<Self, Refusal> {
        let count = i32::try_from(want.spots.len()).unwrap_or(i32::MAX).max(1);
        let sizes = Sizes { snap_length: want.snap_length, buffer: (BUFFERS / count).clamp(BUFFER[0], BUFFER[1]) };
        let open = |(place, spot): (usize, &Spot)| Device::open(spot, sizes).map_err(|failed| failed.at(place));
        let devices = want.spots.iter().enumerate().map(open).collect::<Result<_, _>>()?;
        let signals = signals::descriptor().map_err(|errno| Refusal::Device {
            place: 0,
            words: format!("signals can't be waited for: {}", errno.desc()),
        })?;
        Ok(Self { devices, signals })
    }

    /// Each device, in the order in which they were asked for.
    #[must_use]
    pub fn interfaces(&self) -> Vec<Interface> {
        self.devices.iter().map(|device| device.interface.clone()).collect()
    }

    /// Whether all devices have gone.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.devices.iter().all(|device| device.handle.is_none())
    }

    /// Waits for packets, for a signal, or for the time to pass.
    #[must_use]
    pub fn wait(&self, most: Duration) -> Woken {
        let most = if self.devices.iter().any(|device| device.has_more) { Duration::ZERO } else { most };
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        let handles = self.devices.iter().filter_map(|device| device.handle.as_ref());
        fds.extend(handles.map(|handle| PollFd::new(handle.as_fd(), PollFlags::POLLIN)));
        // Where waiting fails, the devices are read, which tells why.
        let _: Result<i32, Errno> = poll(&mut fds, PollTimeout::try_from(most).unwrap_or(PollTimeout::MAX));
        match self.signals.read_signal() {
            Ok(Some(_)) => Woken::Signal,
            _ => Woken::Reading,
        }
    }

    /// Reads some of what there is, and tells which devices have gone.
    pub fn read(&mut self, take: &mut dyn FnMut(Captured<'_>)) -> Vec<Gone> {
        (0..).zip(&mut self.devices).filter_map(|(place, device)| device.read(place, take)).collect()
    }

    /// Counts a packet that is handed to the file.
    pub fn count(&mut self, packet: &Captured<'_>) {
        let device = usize::try_from(packet.interface).ok().and_then(|place| self.devices.get_mut(place));
        if let Some(device) = device {
            device.counted.captured += 1;
        }
    }

    /// What each device has counted. To be asked now and then: libpcap counts in 32 bits.
    pub fn statistics(&mut self) -> Vec<Statistics> {
        self.devices.iter_mut().map(Device::statistics).collect()
    }
}

/// How much of a packet is kept, and how much the kernel holds, in bytes.
#[derive(Clone, Copy)]
struct Sizes {
    snap_length: u32,
    buffer: i32,
}

/// Why a device can't be captured on, in libpcap's words.
enum Failed {
    Opening(String),
    Filter(String),
}

impl Failed {
    fn at(self, place: usize) -> Refusal {
        match self {
            Self::Filter(words) => Refusal::Filter { place, words },
            Self::Opening(words) => {
                let lower = words.to_ascii_lowercase();
                let is_permission = ["permi", "cap_net_raw"].iter().any(|word| lower.contains(word));
                if is_permission { Refusal::Permission { place, words } } else { Refusal::Device { place, words } }
            }
        }
    }
}

impl Device {
    fn open(spot: &Spot, sizes: Sizes) -> Result<Self, Failed> {
        let Some(netns) = &spot.netns else { return Self::open_here(spot, sizes) };
        let died = || Err(Failed::Opening("a thread died".to_owned()));
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let entered = setns(netns, CloneFlags::CLONE_NEWNET);
                entered
                    .map_err(|errno| Failed::Opening(format!("the namespace can't be entered: {}", errno.desc())))?;
                Self::open_here(spot, sizes)
            });
            worker.join().unwrap_or_else(|_| died())
        })
    }

    fn open_here(spot: &Spot, sizes: Sizes) -> Result<Self, Failed> {
        let mut handle = activate(&spot.device, sizes).map_err(|err| Failed::Opening(words(&err)))?;
        if let Some(filter) = &spot.filter {
            handle.filter(filter, true).map_err(|err| Failed::Filter(words(&err)))?;
        }
        let interface = Interface {
            name: spot.name.clone(),
            link_type: link_type(handle.get_datalink()),
            snap_length: sizes.snap_length,
            digits: 9,
            filter: spot.filter.clone(),
        };
        Ok(Self {
            interface,
            handle: Some(handle),
            counted: Statistics::default(),
            last: [0; 3],
            is_elsewhere: spot.netns.is_some(),
            has_more: false,
        })
    }

    fn read(&mut self, place: u32, take: &mut dyn FnMut(Captured<'_>)) -> Option<Gone> {
        let link_type = self.interface.link_type;
        let handle = self.handle.as_mut()?;
        let read = handle.dispatch(Some(BATCH), |packet| take(captured(place, link_type, &packet)));
        self.has_more = matches!(read, Ok(BATCH));
        let err = read.err()?;
        self.statistics();
        self.handle = None;
        Some(Gone { device: self.interface.name.clone(), words: words(&err) })
    }

    fn statistics(&mut self) -> Statistics {
        if let Some(Ok(stat)) = self.handle.as_mut().map(Capture::stats) {
            // libpcap reads the device's own count below /sys, which shows the namespace that /sys was mounted in
            // (`linux_if_drops` in pcap-linux.c): elsewhere that is another device of the same name.
            let by_interface = if self.is_elsewhere { 0 } else { stat.if_dropped };
            let now = [stat.received, stat.dropped, by_interface];
            let counts =
                [&mut self.counted.received, &mut self.counted.dropped, &mut self.counted.dropped_by_interface];
            for ((count, now), last) in counts.into_iter().zip(now).zip(self.last) {
                *count += u64::from(now.wrapping_sub(last));
            }
            self.last = now;
        }
        self.counted
    }
}

fn activate(name: &str, sizes: Sizes) -> Result<Capture<Active>, pcap::Error> {
    let milliseconds = i32::try_from(BLOCK.as_millis()).unwrap_or(i32::MAX);
    let inactive = Capture::from_device(name)?
        .snaplen(i32::try_from(sizes.snap_length).unwrap_or(i32::MAX))
        .timeout(milliseconds)
        .buffer_size(sizes.buffer)
        .precision(Precision::Nano)
        // libpcap warns of promiscuous mode on `any`, and a warning is taken for an error.
        .promisc(name != ANY);
    let mut handle = inactive.open()?.setnonblock()?;
    let cooked = Linktype::LINUX_SLL2;
    if handle.get_datalink() == Linktype::LINUX_SLL && handle.list_datalinks()?.contains(&cooked) {
        // The second version names the device of each packet.
        handle.set_datalink(cooked)?;
    }
    Ok(handle)
}

/// What libpcap said, without the crate's own beginning.
fn words(err: &pcap::Error) -> String {
    match err {
        pcap::Error::PcapError(words) => words.clone(),
        err => err.to_string(),
    }
}

/// A link layer's number in files. It is libpcap's number but for a few, which are not the same on every system.
fn link_type(number: Linktype) -> u16 {
    match number.0 {
        11 => 100,
        12 | 14 => 101,
        19 => 106,
        same => u16::try_from(same).unwrap_or(u16::MAX),
    }
}

fn captured<'a>(interface: u32, link_type: u16, packet: &pcap::Packet<'a>) -> Captured<'a> {
    let time = packet.header.ts;
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    // With the precision that was asked for, these are nanoseconds whatever the field is called.
    let nanoseconds = u64::try_from(time.tv_usec).unwrap_or(0);
    Captured {
        interface,
        time: seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds),
        length: packet.header.len,
        bytes: Cow::Borrowed(packet.data),
        direction: direction(link_type, packet.data),
    }
}

/// Cooked link layers say which way a packet went; others don't.
fn direction(link_type: u16, bytes: &[u8]) -> Option<Direction> {
    let kind = match link_type {
        113 => bytes.get(1)?,
        276 => bytes.get(10)?,
        _ => return None,
    };
    match kind {
        0 => Some(Direction::In(Reception::Unicast)),
        1 => Some(Direction::In(Reception::Broadcast)),
        2 => Some(Direction::In(Reception::Multicast)),
        3 => Some(Direction::In(Reception::Promiscuous)),
        4 => Some(Direction::Out),
        _ => None,
    }
}

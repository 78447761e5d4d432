//! Live devices of the present network namespace, read through libpcap.

use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use pcap::{Active, Capture, Linktype, Precision};

use super::{Captured, Direction, Interface, Reception, Statistics};

/// How long the kernel holds packets back to hand over many at once.
pub const BLOCK: Duration = Duration::from_millis(100);

/// The largest snapshot length that libpcap has.
pub const MOST_SNAP_LENGTH: u32 = 262_144;

/// The pseudo-device that stands for all of a namespace.
pub const ANY: &str = "any";

/// How many bytes the kernel holds for each device until they are read.
const BUFFER: i32 = 8 << 20;

/// How many packets are read from a device before it is another one's turn.
const BATCH: usize = 4096;

/// Why nothing can be captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The process may not.
    Permission {
        /// The device.
        device: String,
        /// What libpcap says.
        words: String,
    },
    /// The device can't be opened, perhaps because there is none of this name.
    Device {
        /// The device.
        device: String,
        /// What libpcap says.
        words: String,
    },
    /// The filter is not one, or not one for this device.
    Filter {
        /// The device that it was meant for.
        device: String,
        /// What libpcap says.
        words: String,
    },
}

/// What to capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// The devices.
    pub devices: Vec<String>,
    /// A filter in libpcap's words.
    pub filter: Option<String>,
    /// How many bytes of each packet are kept at most.
    pub snap_length: u32,
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

/// The names of the devices that libpcap finds here; none where it can't tell.
#[must_use]
pub fn devices() -> Vec<String> {
    pcap::Device::list().unwrap_or_default().into_iter().map(|device| device.name).collect()
}

impl Live {
    /// Opens every device. From now on SIGINT, SIGTERM and SIGHUP end no process but wake [`Live::wait`].
    pub fn open(want: &Want) -> Result<Self, Refusal> {
        let devices = want.devices.iter().map(|name| Device::open(name, want)).collect::<Result<_, _>>()?;
        let signals = signals().map_err(|errno| Refusal::Device {
            device: want.devices.join(","),
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

    /// Reads what there is, and tells which devices have gone.
    pub fn read(&mut self, take: &mut dyn FnMut(Captured)) -> Vec<Gone> {
        (0..).zip(&mut self.devices).filter_map(|(place, device)| device.read(place, take)).collect()
    }

    /// Counts a packet that is handed to the file.
    pub fn count(&mut self, packet: &Captured) {
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

/// Blocks the signals that ask to end, and reads them from a descriptor instead.
fn signals() -> Result<SignalFd, Errno> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        set.add(signal);
    }
    set.thread_block()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

impl Device {
    fn open(name: &str, want: &Want) -> Result<Self, Refusal> {
        let mut handle = activate(name, want.snap_length).map_err(|err| unopened(name, &err))?;
        if let Some(filter) = &want.filter {
            handle
                .filter(filter, true)
                .map_err(|err| Refusal::Filter { device: name.to_owned(), words: words(&err) })?;
        }
        let interface = Interface {
            name: name.to_owned(),
            link_type: link_type(handle.get_datalink()),
            snap_length: want.snap_length,
            digits: 9,
            filter: want.filter.clone(),
        };
        let handle = Some(handle);
        Ok(Self { interface, handle, counted: Statistics::default(), last: [0; 3], has_more: false })
    }

    fn read(&mut self, place: u32, take: &mut dyn FnMut(Captured)) -> Option<Gone> {
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
            let now = [stat.received, stat.dropped, stat.if_dropped];
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

fn activate(name: &str, snap_length: u32) -> Result<Capture<Active>, pcap::Error> {
    let milliseconds = i32::try_from(BLOCK.as_millis()).unwrap_or(i32::MAX);
    let inactive = Capture::from_device(name)?
        .snaplen(i32::try_from(snap_length).unwrap_or(i32::MAX))
        .timeout(milliseconds)
        .buffer_size(BUFFER)
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

fn unopened(name: &str, err: &pcap::Error) -> Refusal {
    let (device, words) = (name.to_owned(), words(err));
    let lower = words.to_ascii_lowercase();
    if ["permi", "cap_net_raw"].iter().any(|word| lower.contains(word)) {
        return Refusal::Permission { device, words };
    }
    Refusal::Device { device, words }
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

fn captured(interface: u32, link_type: u16, packet: &pcap::Packet<'_>) -> Captured {
    let time = packet.header.ts;
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    // With the precision that was asked for, these are nanoseconds whatever the field is called.
    let nanoseconds = u64::try_from(time.tv_usec).unwrap_or(0);
    Captured {
        interface,
        time: seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds),
        length: packet.header.len,
        bytes: packet.data.to_vec(),
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

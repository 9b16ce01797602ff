//! Any bytes as a config space, and a device whose config space changes between reads.
//!
//! The first byte of the input says how much of the rest is the space: 64, 256 or 4096 bytes, or all. From its fourth bit
//! on it is a device: see [`Changing`].
#![no_main]

use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use vfio_core::device::Device;
use vfio_core::pci::{
    Bar, Bars, Capability, Config, ConfigAccess, ConfigError, DeviceConfig, Entry, Msix, MsixEntry,
    MsixTable, Snapshot, TableError, TransferError,
};
use vfio_core::sys::{Absent, Errno, FdRequest, InfoRequest, NameRequest, Sys, ValueRequest};
use vfio_fuzz::lists::{self, End};

fuzz_target!(|input: &[u8]| {
    let Some((head, rest)) = input.split_first() else {
        return;
    };
    let space = match head & 3 {
        0 => rest.get(..64).unwrap_or(rest),
        1 => rest.get(..256).unwrap_or(rest),
        2 => rest.get(..4096).unwrap_or(rest),
        _ => rest,
    };
    if head & 4 == 0 {
        still(space);
        table(rest);
    } else {
        changing(head >> 3, rest);
    }
});

/// The longest lists that there can be.
const LONGEST: [usize; 2] = [48, 960];

/// Reads a space that stays as it is: the lists are those that the bytes have.
fn still(space: &[u8]) {
    let config = Config::new(Snapshot(space));
    let whole = &space[..space.len().min(4096)];
    assert_eq!(usize::from(config.size()), whole.len());
    looked_at(&config, || ());

    let (expected, end) = lists::standard(whole);
    check_list(config.capabilities(), &expected, &end);
    let (extended, extended_end) = lists::extended(whole);
    check_list(config.extended_capabilities(), &extended, &extended_end);

    for (entries, end) in [(&expected, &end), (&extended, &extended_end)] {
        for entry in entries {
            let found = config.find_entry(entry.id);
            if *end == End::Last {
                let first = entries.iter().find(|other| other.id == entry.id);
                assert_eq!(found, Ok(first.copied()));
            } else {
                assert!(found.is_err(), "found in a malformed list");
            }
            check_capability(&config, *entry, whole);
        }
    }

    for (index, byte) in (0_u16..).zip(whole) {
        assert_eq!(config.read_u8(index), Ok(*byte));
    }
    let size = config.size();
    assert!(config.read_u8(size).is_err());
    assert!(config.read_u16(size.saturating_sub(1)).is_err());
    assert!(config.read_u32(u16::MAX - 3).is_err());
    let mut copy = vec![0; whole.len()];
    assert_eq!(config.read_bytes(0, &mut copy), Ok(()));
    assert_eq!(copy, whole);

    if let Ok(bars) = config.bars() {
        check_bars(&bars, whole);
    }
}

fn check_list<E: Debug>(
    list: impl Iterator<Item = Result<Entry, ConfigError<E>>>,
    expected: &[Entry],
    end: &End,
) {
    // Bounded by hand: an iteration without end must fail, not hang.
    let mut list = list.take(expected.len() + 3);
    for entry in expected {
        let found = list.next().expect("a list that ends early");
        assert_eq!(found.expect("a list that breaks early"), *entry);
    }
    match (list.next(), end) {
        (None, End::Last) => (),
        (Some(Err(ConfigError::List(error))), End::List(expected)) => {
            assert_eq!(error, *expected);
            assert!(!error.to_string().is_empty());
        }
        (Some(Err(error)), End::Unreadable) => {
            assert!(!matches!(error, ConfigError::List(_)), "{error:?}");
        }
        (found, end) => panic!("{found:?}, where {end:?} was to be"),
    }
    assert!(list.next().is_none(), "an iteration that goes on");
}

fn check_capability(config: &Config<Snapshot<&[u8]>>, entry: Entry, space: &[u8]) {
    let start = usize::from(entry.offset);
    match entry.decode(config) {
        Ok(capability) => {
            let (offset, len) = match &capability {
                Capability::VendorSpecific(vendor) => (vendor.offset, usize::from(vendor.len)),
                Capability::ExtendedVendor(vendor) => (vendor.offset, vendor.len.into()),
                Capability::DesignatedVendor(vendor) => (vendor.offset, vendor.len.into()),
                Capability::Msi(msi) => (msi.offset, msi.size().into()),
                Capability::Msix(msix) => {
                    assert!((1..=2048).contains(&msix.table.vectors()));
                    assert_eq!(msix.table.vectors(), msix.pending.vectors());
                    let range = msix.table.range();
                    assert_eq!(
                        range.end - range.start,
                        u64::from(msix.table.vectors()) * 16
                    );
                    assert_eq!(range.start % 8, 0);
                    (entry.offset, 12)
                }
                Capability::SrIov(sriov) => {
                    check_bars(&sriov.vf_bars, &space[start + 0x24 - 0x10..]);
                    // As far as it is read.
                    (entry.offset, 0x3c)
                }
                Capability::Other(other) => {
                    assert_eq!(*other, entry);
                    (entry.offset, 2)
                }
                _ => (entry.offset, 4),
            };
            assert_eq!(offset, entry.offset);
            assert!(
                start + len <= space.len(),
                "{capability:?} is not in the space"
            );
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(
                matches!(
                    error,
                    ConfigError::Truncated { offset, .. } | ConfigError::Length { offset, .. }
                        if offset == entry.offset
                ) || matches!(error, ConfigError::UnpairedBar { .. }),
                "{error:?}"
            );
        }
    }
}

/// Checks BARs whose registers start at 0x10.
fn check_bars(bars: &Bars, space: &[u8]) {
    let mut next = 0;
    for (index, bar) in bars {
        assert_eq!(index, next, "a register is left out");
        assert_eq!(bars.get(index), Some(bar));
        let at = 0x10 + 4 * index;
        let register = lists::word(space, at).expect("it was read");
        let low = match bar {
            Bar::Io { port } => port,
            Bar::Memory64 { address, .. } => {
                let high = lists::word(space, at + 4).expect("it was read");
                assert_eq!(address >> 32, u64::from(high));
                assert_eq!(bars.get(index + 1), None);
                next += 1;
                u32::try_from(address & 0xffff_ffff).expect("32 bits")
            }
            other => u32::try_from(other.address()).expect("32 bits"),
        };
        let flags = if matches!(bar, Bar::Io { .. }) {
            3
        } else {
            0xf
        };
        assert_eq!(low, register & !flags);
        next += 1;
    }
}

/// Asks every question about a header, and does something `before` each. Each gives an answer or an error with
/// a text.
fn looked_at<A: ConfigAccess<Error: std::error::Error>>(config: &Config<A>, before: impl Fn()) {
    fn text<T, E: std::error::Error>(result: Result<T, ConfigError<E>>) {
        if let Err(error) = result {
            assert!(!error.to_string().is_empty());
            let _ = error.offset();
        }
    }
    let questions: [fn(&Config<A>); 11] = [
        |config| text(config.id()),
        |config| text(config.command()),
        |config| text(config.status()),
        |config| text(config.class()),
        |config| text(config.header_type()),
        |config| text(config.subsystem()),
        |config| text(config.bars()),
        |config| text(config.expansion_rom()),
        |config| text(config.interrupt_pin()),
        |config| text(config.interrupt_line()),
        |config| text(config.find::<Msix>()),
    ];
    for question in questions {
        before();
        question(config);
    }
}

/// Reads the bytes as a table of MSI-X in a BAR, whole and by entries.
fn table(bytes: &[u8]) {
    // An MSI-X capability that says where the table is, at 0x40 of a space made of the first bytes.
    let mut space = [0; 256];
    space[6] = 0x10;
    space[0x34] = 0x40;
    space[0x40] = 0x11;
    let head = bytes.get(..10).unwrap_or(bytes);
    space[0x42..0x42 + head.len()].copy_from_slice(head);
    let msix: Msix = Config::new(Snapshot(&space))
        .find()
        .expect("a sound list")
        .expect("it is there");
    let table: MsixTable = msix.table;
    let start = usize::try_from(table.offset()).expect("32 bits");
    let read = |at: u64| {
        assert_eq!(at % 4, 0);
        assert!(table.range().contains(&at), "{at:#x} is not in the table");
        let at = usize::try_from(at).expect("in the table") - start;
        lists::word(bytes, at).ok_or(at)
    };
    let all: Vec<MsixEntry> = MsixEntry::all(bytes).collect();
    assert_eq!(all.len(), bytes.len() / 16);
    for (vector, entry) in (0..table.vectors()).zip(&all) {
        assert_eq!(table.entry(vector, read), Ok(*entry));
    }
    let vectors = table.vectors();
    assert_eq!(
        table.entry(vectors, read),
        Err(TableError::NoVector {
            vector: vectors,
            vectors
        })
    );
    for vector in [0, vectors - 1, vectors, u16::MAX] {
        let pending = msix.pending.is_pending(vector, |at| {
            assert!(msix.pending.range().contains(&at));
            Ok::<_, ()>(u32::MAX)
        });
        assert_eq!(pending.is_ok(), vector < vectors);
    }
}

/// Where the config region lies in the device's file.
const REGION: u64 = 7 << 40;

/// A device whose config space is another at every read, and whose reads end as they please.
///
/// The input is 8 bytes and then spaces of equal length, of which there are as many as the first argument says, and one
/// more; the n-th read is one of the n-th space, and ends as the n-th byte says: 0 is well, 255 cuts it short, any other
/// number is that errno. After the last, they start over.
struct Changing<'i> {
    ends: [u8; 8],
    spaces: Vec<&'i [u8]>,
    size: u16,
    reads: Cell<usize>,
    /// Whether the last read failed.
    failed: Cell<Option<TransferError>>,
    written: RefCell<Vec<(u64, Vec<u8>)>>,
}

fn changing(more: u8, input: &[u8]) {
    let Some((ends, rest)) = input.split_first_chunk() else {
        return;
    };
    let len = (rest.len() / (usize::from(more) + 1)).clamp(1, 4096);
    let spaces: Vec<&[u8]> = rest.chunks_exact(len).collect();
    let size = u16::try_from(len).expect("at most 4096");
    if spaces.is_empty() {
        return;
    }
    let sys = Changing {
        ends: *ends,
        spaces,
        size,
        reads: Cell::new(0),
        failed: Cell::new(None),
        written: RefCell::default(),
    };
    let device = Device::new(&sys, ());
    let mut config = Config::new(DeviceConfig::new(&device, REGION, size.into()));
    looked_at(&config, || sys.failed.set(None));
    for (list, longest) in [
        (entries(&sys, config.capabilities()), LONGEST[0]),
        (entries(&sys, config.extended_capabilities()), LONGEST[1]),
    ] {
        assert!(list.len() <= longest, "a walk of {} steps", list.len());
        for entry in list {
            sys.failed.set(None);
            let decoded = entry.decode(&config);
            check_failure(&sys, &decoded);
        }
    }
    sys.failed.set(None);
    let bars = config.bars();
    check_failure(&sys, &bars);

    sys.failed.set(None);
    if let Ok(command) = config.command() {
        sys.failed.set(None);
        let done = config.set_command(command);
        let expected = (REGION + 4, command.bits().to_le_bytes().to_vec());
        assert_eq!(*sys.written.borrow(), [expected]);
        check_failure(&sys, &done);
    }
    assert!(config.write_u8(u16::MAX, 0).is_err());
}

/// Returns the entries of a list, which ends after the first failed read.
fn entries(
    sys: &Changing<'_>,
    list: impl Iterator<Item = Result<Entry, ConfigError<TransferError>>>,
) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut list = list.take(LONGEST[1] + 2);
    loop {
        sys.failed.set(None);
        match list.next() {
            None => return found,
            Some(step) => {
                check_failure(sys, &step);
                match step {
                    Ok(entry) => {
                        assert!(entry.offset >= 0x40 && entry.offset % 4 == 0);
                        assert!(entry.offset + 4 <= sys.size);
                        found.push(entry);
                    }
                    Err(_) => assert!(list.next().is_none(), "a list that goes on"),
                }
            }
        }
    }
}

/// Checks that a read that failed is never taken for one that did not.
fn check_failure<T: Debug>(sys: &Changing<'_>, result: &Result<T, ConfigError<TransferError>>) {
    match (sys.failed.get(), result) {
        (Some(expected), Err(ConfigError::Access { error, .. })) => assert_eq!(*error, expected),
        (Some(failed), result) => panic!("{failed:?} was lost: {result:?}"),
        (None, Err(ConfigError::Access { error, .. })) => panic!("{error:?} out of nothing"),
        (None, _) => (),
    }
}

impl Changing<'_> {
    /// Returns how the next transfer of `len` bytes ends, and the number of the transfer.
    fn end(&self, len: usize) -> (usize, Result<usize, Errno>) {
        let read = self.reads.replace(self.reads.get() + 1);
        let end = match self.ends[read % 8] {
            0 => Ok(len),
            255 => Ok(len - 1),
            errno => Err(Errno(errno.into())),
        };
        let failure = match end {
            Ok(done) if done == len => None,
            Ok(done) => Some(TransferError::Short { done }),
            Err(errno) => Some(TransferError::Errno(errno)),
        };
        if self.failed.get().is_none() {
            self.failed.set(failure);
        } else {
            panic!("one more transfer after one that failed");
        }
        (read, end)
    }

    /// Returns the place of a register in the space, as devices expect it.
    fn register(&self, offset: u64, len: usize) -> usize {
        assert!(matches!(len, 1 | 2 | 4), "a transfer of {len} bytes");
        let at = offset.checked_sub(REGION).expect("before the region");
        assert_eq!(at % len as u64, 0, "{len} bytes at {at:#x}");
        let at = usize::try_from(at).expect("past the region");
        assert!(at + len <= self.size.into(), "past the space");
        at
    }
}

impl Sys for &Changing<'_> {
    type Fd = ();
    type Mapping = Absent;
    type Memory = Absent;
    type Event = Absent;

    fn page_size(&self) -> usize {
        4096
    }

    fn open(&self, _: &CStr) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    fn ioctl_info(&self, (): &(), _: InfoRequest, _: &mut [u8]) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    fn ioctl_value(&self, (): &(), _: ValueRequest, _: u32) -> Result<u32, Errno> {
        Err(Errno::ENOSYS)
    }

    fn ioctl_fd(&self, (): &(), _: FdRequest, (): &()) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    fn ioctl_name(&self, (): &(), _: NameRequest, _: &CStr) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    fn pread(&self, (): &(), buf: &mut [u8], offset: u64) -> Result<usize, Errno> {
        let at = self.register(offset, buf.len());
        let (read, end) = self.end(buf.len());
        let space = self.spaces[read % self.spaces.len()];
        buf.copy_from_slice(&space[at..at + buf.len()]);
        end
    }

    fn pwrite(&self, (): &(), buf: &[u8], offset: u64) -> Result<usize, Errno> {
        self.register(offset, buf.len());
        self.written.borrow_mut().push((offset, buf.to_vec()));
        self.end(buf.len()).1
    }
}

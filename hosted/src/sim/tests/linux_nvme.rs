//! What Linux's own driver asks of a controller before it makes a disk of a namespace, in its
//! order (Linux 6.12, drivers/nvme/host/core.c and pci.c), and what it must be answered.

use std::vec;
use std::vec::Vec;

use vfio_core::device::Device;
use vfio_core::device::region::MappedRegion;
use vfio_core::dma::{Buffer, Direction, Dma};
use vfio_core::mmio::{CanReadWrite, Window};
use vfio_core::open::{Mode, Place, Session};
use vfio_core::sys::Sys as _;
use vfio_core::wire::abi::pci_region;

use super::{C_NAME, GROUP, Kernel, NAME};
use crate::model::{self, Nvme, NvmeControl, NvmeNamespace};

type Memory<'d> = Buffer<&'d Dma<Kernel, 64>>;

/// Entries of the admin queue and of a queue pair.
const ENTRIES: u32 = 32;

/// Offsets of registers, in bytes.
const CAP: usize = 0x00;
const VS: usize = 0x08;
const CC: usize = 0x14;
const CSTS: usize = 0x1c;
const AQA: usize = 0x24;
const ASQ: usize = 0x28;
const ACQ: usize = 0x30;
const DOORBELLS: usize = 0x1000;

/// An open controller.
struct Opened {
    kernel: Kernel,
    device: Device<Kernel>,
    dma: Dma<Kernel, 64>,
    control: NvmeControl,
}

impl Opened {
    fn new(nvme: Nvme) -> Self {
        let control = nvme.control();
        let kernel = Kernel::new().with_device(NAME, model::nvme_with(nvme), GROUP);
        let cdev = kernel.device_path(NAME);
        let place = Place {
            name: C_NAME,
            cdev: cdev.as_deref(),
            ..Default::default()
        };
        let session = Session::open_in(Mode::Iommufd, &kernel, &place).unwrap();
        let dma = Dma::new(kernel.clone(), session.space).unwrap();
        Self {
            kernel,
            device: session.device,
            dma,
            control,
        }
    }

    fn bar0(&self) -> Window<MappedRegion<&Device<Kernel>>> {
        self.device.bring_up(pci_region::BAR0).unwrap()
    }

    /// Lets the device do what it still does.
    fn let_time_pass(&self) {
        for _ in 0..100 {
            self.kernel.now().unwrap();
        }
    }

    /// Checks that nothing is mapped, and that the device reached nothing that was not.
    fn assert_clean(&self) {
        assert_eq!(self.kernel.faults(), []);
        assert_eq!(self.kernel.live_dma_mappings(), 0);
        assert_eq!(self.kernel.live_mappings(), 0);
    }
}

/// Returns a controller with a namespace of 512-byte blocks and one of 4096-byte blocks.
fn two_namespaces() -> Nvme {
    Nvme::new()
        .with_namespace(NvmeNamespace::of_512(4096))
        .with_namespace(NvmeNamespace::of_4096(512))
}

/// A queue pair as Linux has it: a command at a time.
struct Queue<'d> {
    id: usize,
    submissions: Memory<'d>,
    completions: Memory<'d>,
    /// Commands that were given, and completions that were taken.
    given: u32,
    taken: u32,
}

/// Linux's driver.
struct Linux<'d> {
    opened: &'d Opened,
    bar0: Window<MappedRegion<&'d Device<Kernel>>, CanReadWrite>,
    page: Memory<'d>,
    /// None while a command of it is under way.
    admin: Option<Queue<'d>>,
}

/// A command: opcode, namespace, and dwords from 10 on.
#[derive(Clone, Copy)]
struct Command(u8, u32, [u32; 3]);

impl<'d> Queue<'d> {
    fn new(opened: &'d Opened, id: usize) -> Self {
        let memory = || Buffer::new(&opened.dma, 4096, Direction::Both).unwrap();
        Self {
            id,
            submissions: memory(),
            completions: memory(),
            given: 0,
            taken: 0,
        }
    }
}

impl<'d> Linux<'d> {
    /// Enables the controller as `nvme_pci_configure_admin_queue` does.
    fn enable(opened: &'d Opened) -> Self {
        let admin = Queue::new(opened, 0);
        let addresses = [&admin.submissions, &admin.completions].map(Buffer::iova);
        let mut linux = Self {
            opened,
            bar0: opened.bar0(),
            page: Buffer::new(&opened.dma, 4096, Direction::Both).unwrap(),
            admin: Some(admin),
        };
        let capabilities: u64 = linux.bar0.read(CAP).unwrap();
        // The NVM command set and no other that is chosen by number, and pages of 4 KiB.
        assert_eq!(
            (capabilities >> 37 & 0xff, capabilities >> 48 & 0xff),
            (1, 0)
        );
        linux.set(CC, 0);
        linux.wait(0);
        let last = ENTRIES - 1;
        linux.set(AQA, last | last << 16);
        for (at, address) in [ASQ, ACQ].into_iter().zip(addresses) {
            linux.bar0.write::<u64>(at, address).unwrap();
        }
        // The settings first, and to be enabled after that.
        linux.set(CC, 0x0046_0000);
        assert_eq!(linux.bar0.read::<u32>(CC), Ok(0x0046_0000));
        linux.set(CC, 0x0046_0001);
        linux.wait(1);
        linux
    }

    fn set(&mut self, at: usize, value: u32) {
        self.bar0.write(at, value).unwrap();
    }

    /// Waits until the status is as wanted.
    fn wait(&mut self, wanted: u32) {
        for _ in 0..100 {
            if self.bar0.read::<u32>(CSTS).unwrap() == wanted {
                return;
            }
            self.opened.let_time_pass();
        }
        panic!("the status is not {wanted:#x}");
    }

    /// Gives a command to a queue, with the page as its data, and returns the answer; the status
    /// where it failed.
    fn make(&mut self, queue: &mut Queue<'d>, command: Command) -> Result<u32, u16> {
        let data = self.page.iova();
        self.make_at(queue, command, data)
    }

    /// Returns the same, with its data elsewhere.
    fn make_at(&mut self, queue: &mut Queue<'d>, command: Command, data: u64) -> Result<u32, u16> {
        let at = usize::try_from(queue.given % ENTRIES).unwrap();
        queue.given += 1;
        let Command(opcode, namespace, dwords) = command;
        let mut entry = [0; 64];
        let fields = [
            (0, u32::from(opcode) | queue.given << 16),
            (4, namespace),
            (40, dwords[0]),
            (44, dwords[1]),
            (48, dwords[2]),
        ];
        for (at, field) in fields {
            entry[at..at + 4].copy_from_slice(&field.to_le_bytes());
        }
        entry[24..32].copy_from_slice(&data.to_le_bytes());
        queue
            .submissions
            .window()
            .write_bytes(at * 64, &entry)
            .unwrap();
        let tail = queue.given % ENTRIES;
        self.set(DOORBELLS + queue.id * 8, tail);
        self.take(queue)
    }

    /// Takes the next completion of a queue.
    fn take(&mut self, queue: &mut Queue<'d>) -> Result<u32, u16> {
        let at = usize::try_from(queue.taken % ENTRIES).unwrap() * 16;
        let phase = (queue.taken / ENTRIES + 1) & 1;
        for _ in 0..100 {
            let end: u32 = queue.completions.window().read(at + 12).unwrap();
            if end >> 16 & 1 != phase {
                self.opened.let_time_pass();
                continue;
            }
            let answer = queue.completions.window().read(at).unwrap();
            queue.taken += 1;
            self.set(DOORBELLS + queue.id * 8 + 4, queue.taken % ENTRIES);
            return match u16::try_from(end >> 17).unwrap() {
                0 => Ok(answer),
                status => Err(status & 0x7ff),
            };
        }
        panic!("no completion came")
    }

    fn admin(&mut self, opcode: u8, namespace: u32, dwords: [u32; 3]) -> Result<u32, u16> {
        let data = self.page.iova();
        self.admin_at(Command(opcode, namespace, dwords), data)
    }

    fn admin_at(&mut self, command: Command, data: u64) -> Result<u32, u16> {
        let mut queue = self.admin.take().unwrap();
        let result = self.make_at(&mut queue, command, data);
        self.admin = Some(queue);
        result
    }

    fn identify(&mut self, kind: u32, namespace: u32) -> Result<Vec<u8>, u16> {
        self.admin(0x06, namespace, [kind, 0, 0])?;
        Ok(self.page())
    }

    /// Returns the contents of the page.
    fn page(&mut self) -> Vec<u8> {
        let mut page = vec![0; 4096];
        self.page.window().read_bytes(0, &mut page).unwrap();
        page
    }

    fn set_feature(&mut self, feature: u32, value: u32) -> Result<u32, u16> {
        self.admin(0x09, 0, [feature, value, 0])
    }

    fn log(&mut self, page: u32, len: u32) -> Result<Vec<u8>, u16> {
        self.admin(0x02, u32::MAX, [page | (len / 4 - 1) << 16, 0, 0])?;
        Ok(self.page())
    }

    /// Creates a queue pair as `nvme_create_queue` does.
    fn create(&mut self, id: u32) -> Queue<'d> {
        let queue = Queue::new(self.opened, usize::try_from(id).unwrap());
        let size = id | (ENTRIES - 1) << 16;
        for (opcode, memory, flags) in [
            (0x05, &queue.completions, 3 | id << 16),
            (0x01, &queue.submissions, 1 | id << 16),
        ] {
            let command = Command(opcode, 0, [size, flags, 0]);
            self.admin_at(command, memory.iova()).unwrap();
        }
        queue
    }
}

/// Returns a number of 16 bits of a page.
fn word(page: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([page[at], page[at + 1]])
}

/// Returns a number of 32 bits of a page.
fn dword(page: &[u8], at: usize) -> u32 {
    u32::from(word(page, at)) | u32::from(word(page, at + 2)) << 16
}

/// Returns the text up to the zero that ends it.
fn text(bytes: &[u8]) -> &str {
    let len = bytes.iter().position(|byte| *byte == 0).unwrap();
    core::str::from_utf8(&bytes[..len]).unwrap()
}

/// Returns the descriptors of a page, by their type.
fn descriptors(page: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut found = Vec::new();
    let mut rest = page;
    while let [kind, len, _, _, after @ ..] = rest
        && *len > 0
    {
        let (identifier, left) = after.split_at(usize::from(*len));
        found.push((*kind, identifier.to_vec()));
        rest = left;
    }
    found
}

#[test]
fn linux_finds_a_namespace_and_reads_and_writes_it() {
    let opened = Opened::new(two_namespaces());
    let mut linux = Linux::enable(&opened);

    assert_eq!(linux.bar0.read::<u32>(VS), Ok(0x0001_0400));
    // nvme_init_identify, nvme_init_subsystem.
    let info = linux.identify(1, 0).unwrap();
    assert_eq!(dword(&info, 80), 0x0001_0400);
    let name = text(&info[768..1024]);
    assert!(
        name.starts_with("nqn.2014-08.org.nvmexpress:uuid:"),
        "{name}"
    );
    assert!(dword(&info, 516) >= 2);
    assert_eq!(info[512..514], [0x66, 0x44]);
    // Limits that do not depend on the size of transfers: none.
    let limits = linux.identify(6, 0).unwrap();
    assert!(limits.iter().all(|byte| *byte == 0));
    // nvme_configure_host_options: the controller has extended formats.
    assert_ne!(dword(&info, 96) & 1 << 15, 0);
    linux.page.window().write_bytes(0, &[0; 512]).unwrap();
    linux.page.window().write::<u8>(2, 1).unwrap();
    linux.set_feature(0x16, 0).unwrap();
    // nvme_hwmon_init, and what it reads then.
    let health = linux.log(2, 512).unwrap();
    assert!(word(&health, 1) < word(&info, 266));
    assert_eq!(linux.admin(0x0a, 0, [4, 0, 0]), Ok(word(&info, 266).into()));

    // nvme_setup_io_queues.
    let given = linux.set_feature(0x07, 3 | 3 << 16).unwrap();
    assert!(given & 0xffff >= 3 && given >> 16 >= 3);
    let mut queue = linux.create(1);

    // nvme_enable_aen.
    assert_ne!(dword(&info, 92) & 1 << 8, 0);
    linux.set_feature(0x0b, dword(&info, 92) & 1 << 8).unwrap();

    // nvme_scan_ns_list, nvme_scan_ns.
    let list = linux.identify(2, 0).unwrap();
    assert_eq!(
        [dword(&list, 0), dword(&list, 4), dword(&list, 8)],
        [1, 2, 0]
    );
    let mut seen = std::collections::BTreeSet::new();
    for (id, shift) in [(1, 9), (2, 12)] {
        let identifiers = descriptors(&linux.identify(3, id).unwrap());
        let lens: Vec<_> = identifiers
            .iter()
            .map(|(kind, of)| (*kind, of.len()))
            .collect();
        assert_eq!(lens, [(1, 8), (2, 16), (3, 16)]);
        let namespace = linux.identify(0, id).unwrap();
        assert_eq!(identifiers[0].1, namespace[120..128]);
        assert_eq!(identifiers[1].1, namespace[104..120]);
        assert!(
            identifiers
                .iter()
                .all(|identifier| seen.insert(identifier.clone()))
        );
        // There is a disk where it has capacity.
        assert_ne!(dword(&namespace, 8), 0);
        let format = usize::from(namespace[26] & 0xf);
        assert_eq!(namespace[130 + format * 4], shift);
        // The controller has extended formats: of this one, none.
        let extended = linux.identify(5, id).unwrap();
        assert!(extended.iter().all(|byte| *byte == 0));
    }

    // A write past the cache, as a journal makes it, and a read.
    let data: Vec<u8> = (0..4096_u32).map(|at| (at ^ at >> 5) as u8).collect();
    linux.page.window().write_bytes(0, &data).unwrap();
    let command = |opcode, flags: u32| Command(opcode, 1, [8, 0, 7 | flags]);
    linux.make(&mut queue, command(1, 1 << 30)).unwrap();
    assert_eq!(opened.control.medium(1).unwrap()[4096..8192], data);
    linux.page.window().write_bytes(0, &[0; 4096]).unwrap();
    linux.make(&mut queue, command(2, 0)).unwrap();
    assert_eq!(linux.page(), data);

    // nvme_disable_io_queues, nvme_disable_ctrl.
    linux.admin(0x00, 0, [1, 0, 0]).unwrap();
    linux.admin(0x04, 0, [1, 0, 0]).unwrap();
    linux.set(CC, 0x0046_4001);
    linux.wait(1 | 2 << 2);
    linux.set(CC, 0);
    linux.wait(0);
    drop((linux, queue));
    opened.assert_clean();
}

#[test]
fn what_linux_asks_of_namespaces_that_are_not_there_is_refused_as_version_1_4_does() {
    const INVALID_FIELD: u16 = 0x002;
    const INVALID_NAMESPACE: u16 = 0x00b;
    let opened = Opened::new(two_namespaces());
    let mut linux = Linux::enable(&opened);
    for (kind, id, status) in [
        (3, 3, INVALID_FIELD),
        (3, 0, INVALID_NAMESPACE),
        (3, u32::MAX, INVALID_NAMESPACE),
        (0, u32::MAX, INVALID_NAMESPACE),
        (2, u32::MAX, INVALID_NAMESPACE),
        (2, u32::MAX - 1, INVALID_NAMESPACE),
        // Independent of command sets, of version 2.0.
        (8, 1, INVALID_FIELD),
        // Management of namespaces.
        (0x10, 0, INVALID_FIELD),
    ] {
        assert_eq!(linux.identify(kind, id), Err(status), "{kind:#x}, {id:#x}");
    }
    // A number that could have a namespace, and has none, is all zeros.
    for kind in [0, 5] {
        let empty = linux.identify(kind, 3).unwrap();
        assert!(empty.iter().all(|byte| *byte == 0));
    }
    assert_eq!(linux.log(5, 4096), Err(0x109));
    // Before version 1.3 there are no descriptors, and before 1.1 one bit is looked at.
    drop(linux);
    for (version, answers) in [
        (0x0001_0300, [true, true, true]),
        (0x0001_0201, [true, true, false]),
        (0x0001_0100, [true, true, false]),
    ] {
        let opened = Opened::new(two_namespaces().with_version(version));
        let mut linux = Linux::enable(&opened);
        let seen = [0, 2, 3].map(|kind| linux.identify(kind, 1).is_ok());
        assert_eq!(seen, answers, "{version:#x}");
    }
}

#[test]
fn every_field_that_version_1_4_wants_is_there() {
    let opened = Opened::new(two_namespaces());
    let mut linux = Linux::enable(&opened);
    let info = linux.identify(1, 0).unwrap();
    // RTD3R, RTD3E, WCTEMP and CCTEMP, from version 1.2 on.
    assert!([84, 88].iter().all(|at| dword(&info, *at) > 0));
    assert!(word(&info, 266) > 0 && word(&info, 268) > word(&info, 266));
    // CNTRLTYPE: with commands to namespaces.
    assert_eq!(info[111], 1);
    // FRMW: 1 to 7 slots.
    assert!((1..=7).contains(&(info[260] >> 1 & 7)));
    // VWC: it says what a flush of all namespaces does.
    assert!(info[525] & 1 == 1 && info[525] >> 1 & 3 >= 2);
    // Texts are of printable ASCII, and no text is empty.
    for (from, len) in [(4, 20), (24, 40), (64, 8)] {
        let text = &info[from..from + len];
        assert!(text.iter().all(|byte| (b' '..=b'~').contains(byte)));
        assert!(text.iter().any(|byte| *byte != b' '));
    }
    // The firmware's slot 1 is the one that runs.
    let slots = linux.log(3, 512).unwrap();
    assert_eq!((slots[0], &slots[8..16]), (1, &info[64..72]));
    // Features that every controller has can be read, and set to what they are.
    for feature in [1, 2, 4, 5, 6, 8, 9, 0xa, 0xb] {
        let value = linux.admin(0x0a, 0, [feature, 0, 0]).unwrap();
        assert_eq!(linux.set_feature(feature, value), Ok(0), "{feature:#x}");
    }
    // Which is so until it is reset, and is not saved.
    assert_eq!(linux.set_feature(4 | 1 << 31, 300), Err(0x10d));
    assert_eq!(linux.set_feature(7, u32::MAX), Err(0x002));
    linux.set_feature(4, 400).unwrap();
    drop(linux);
    let mut again = Linux::enable(&opened);
    assert_eq!(again.admin(0x0a, 0, [4, 0, 0]), Ok(word(&info, 266).into()));
    // The form of a namespace's identifiers: locally given, and of UUID version 8.
    let identifiers = descriptors(&again.identify(3, 1).unwrap());
    assert_eq!(identifiers[0].1[0] & 3, 2);
    assert_eq!(identifiers[1].1[8..], identifiers[0].1);
    assert_eq!((identifiers[2].1[6] >> 4, identifiers[2].1[8] >> 6), (8, 2));
    // Two controllers with serial numbers of their own are not the same.
    let other = Opened::new(two_namespaces().with_serial("another"));
    let mut linux = Linux::enable(&other);
    let other = linux.identify(1, 0).unwrap();
    assert_eq!(&other[4..24], b"another             ");
    assert_ne!(text(&other[768..1024]), text(&info[768..1024]));
    assert_ne!(descriptors(&linux.identify(3, 1).unwrap()), identifiers);
}

#[test]
fn the_log_of_changed_namespaces_names_them_once() {
    let opened = Opened::new(two_namespaces());
    let mut linux = Linux::enable(&opened);
    opened.control.remove_namespace(2);
    let mut changed = || dword(&linux.log(4, 4096).unwrap(), 0);
    assert_eq!((changed(), changed()), (2, 0));
}

#[test]
fn without_its_cache_what_is_written_is_on_the_medium() {
    let opened = Opened::new(two_namespaces());
    let mut linux = Linux::enable(&opened);
    linux.set_feature(7, 0).unwrap();
    let mut queue = linux.create(1);
    let write = |linux: &mut Linux<'_>, byte| {
        linux.page.window().write_bytes(0, &[byte; 512]).unwrap();
    };
    let first = || opened.control.medium(1).unwrap()[0];
    write(&mut linux, 7);
    linux.make(&mut queue, Command(1, 1, [0; 3])).unwrap();
    assert_eq!(first(), 0);
    // It is emptied when it is switched off.
    linux.set_feature(6, 0).unwrap();
    assert_eq!(first(), 7);
    write(&mut linux, 8);
    linux.make(&mut queue, Command(1, 1, [0; 3])).unwrap();
    assert_eq!(first(), 8);
}

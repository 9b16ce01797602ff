//! The crate `vfio_user` at the other end: its client at our server, and its server at our client.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use vfio_bindings::bindings::vfio::{vfio_region_info, vfio_region_sparse_mmap_area};
use vfio_core::device::region::MappedRegion;
use vfio_core::mmio::Window;
use vfio_core::wire::abi::{pci_irq, pci_region};
use vfio_hosted::model;
use vfio_hosted::vfio_user::Ended;
use vfio_user::{
    Client, DmaMapFlags, DmaUnmapFlags, IrqInfo, ServerBackend, ServerRegion, SparseArea,
};

use crate::{Serving, alone, open, sys};

#[test]
fn its_client_drives_our_edu_by_dma_and_interrupts() {
    let _alone = alone();
    let serving = Serving::new(model::edu());
    let mut client = Client::new(&serving.path()).unwrap();
    assert_eq!(client.region(0).unwrap().size, 1 << 20);
    assert_eq!(client.get_irq_info(1).unwrap().count, 1);
    let mut id = [0; 4];
    client.region_read(0, 0, &mut id).unwrap();
    assert_eq!(u32::from_le_bytes(id), 0x0100_00ed);
    // Memory and bus mastering.
    client.region_write(7, 4, &[6, 0]).unwrap();
    let guest = File::from(memfd_create("guest", MemfdFlags::CLOEXEC).unwrap());
    guest.set_len(1 << 16).unwrap();
    let text = b"carried by the device and back";
    guest.write_at(text, 0).unwrap();
    client
        .dma_map(0, 0x1_0000, 1 << 16, guest.as_raw_fd())
        .unwrap();
    // It waits when it is read.
    let event = File::from(eventfd(0, EventfdFlags::CLOEXEC).unwrap());
    // Data are events, the action is to trigger.
    client
        .set_irqs(1, 0x24, 0, 1, &[event.as_raw_fd()])
        .unwrap();
    for (from, to, command) in [(0x1_0000, 0x4_0000, 5), (0x4_0000, 0x1_0100, 7_u64)] {
        let len = text.len() as u64;
        for (at, value) in [(0x80, from), (0x88, to), (0x90, len), (0x98, command)] {
            client
                .region_write(0, at, &u64::to_le_bytes(value))
                .unwrap();
        }
        let mut count = [0; 8];
        io::Read::read_exact(&mut &event, &mut count).unwrap();
        assert_eq!(u64::from_ne_bytes(count), 1);
    }
    let mut back = [0; 30];
    guest.read_exact_at(&mut back, 0x100).unwrap();
    assert_eq!(&back, text);
    client.dma_unmap(0x1_0000, 1 << 16).unwrap();
    client.shutdown().unwrap();
    drop(client);
    let clients = serving.stop();
    assert_eq!((clients[0].ended, clients[0].faults), (Ended::Left, 0));
}

/// A device of that crate's: configuration space and a BAR in memory, and what was asked of it.
#[derive(Default)]
struct Backend {
    config: Vec<u8>,
    bar: Vec<u8>,
    asked: Vec<String>,
}

impl Backend {
    fn region(&mut self, region: u32) -> &mut [u8] {
        match region {
            7 => &mut self.config,
            _ => &mut self.bar,
        }
    }
}

impl ServerBackend for Backend {
    fn region_read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        let len = data.len();
        data.copy_from_slice(&self.region(region)[start..start + len]);
        Ok(())
    }

    fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        self.region(region)[start..start + data.len()].copy_from_slice(data);
        Ok(())
    }

    fn dma_map(
        &mut self,
        _: DmaMapFlags,
        offset: u64,
        address: u64,
        size: u64,
        fd: Option<File>,
    ) -> io::Result<()> {
        let shared = fd.is_some();
        self.asked.push(format!(
            "map {address:#x} {size:#x} of {offset:#x}, shared: {shared}"
        ));
        Ok(())
    }

    fn dma_unmap(&mut self, _: DmaUnmapFlags, address: u64, size: u64) -> io::Result<()> {
        self.asked.push(format!("unmap {address:#x} {size:#x}"));
        Ok(())
    }

    fn reset(&mut self) -> io::Result<()> {
        self.asked.push("reset".into());
        Ok(())
    }

    fn set_irqs(
        &mut self,
        index: u32,
        flags: u32,
        start: u32,
        count: u32,
        fds: Vec<File>,
    ) -> io::Result<()> {
        let events = fds.len();
        let what = format!("interrupts {index} {flags:#x} {start} {count}, events: {events}");
        self.asked.push(what);
        Ok(())
    }
}

/// A BAR of 64 KiB of which two areas may be mapped.
const AREAS: [(u64, u64); 2] = [(0x1000, 0x1000), (0x4000, 0x2000)];

fn regions(file: &OwnedFd) -> Vec<ServerRegion> {
    let region = |index| {
        let (flags, size) = match index {
            0 => (3, 4096),
            2 => (7 | 8, 1 << 16),
            7 => (3, 256),
            _ => (0, 0),
        };
        let is_mapped = index == 2;
        let area = |(offset, size)| SparseArea {
            area: vfio_region_sparse_mmap_area { offset, size },
        };
        ServerRegion {
            region_info: vfio_region_info {
                argsz: if is_mapped { 32 + 16 + 32 } else { 32 },
                flags,
                index,
                cap_offset: if is_mapped { 32 } else { 0 },
                size,
                offset: 0,
            },
            sparse_areas: match is_mapped {
                true => AREAS.map(area).into(),
                false => vec![],
            },
            mmap_fd: is_mapped.then(|| file.as_raw_fd()),
        }
    };
    (0..9).map(region).collect()
}

/// Serves a device of that crate's to our client.
fn with_its_server<R>(path: &Path, file: &OwnedFd, drive: impl FnOnce() -> R) -> (R, Backend) {
    let irq = |index| IrqInfo {
        index,
        flags: 1,
        count: 1,
    };
    let irqs = (0..5).map(irq).collect();
    let server = vfio_user::Server::new(path, true, irqs, regions(file)).unwrap();
    let serving = std::thread::spawn(move || {
        let mut backend = Backend {
            config: vec![0; 256],
            bar: vec![0; 4096],
            ..Backend::default()
        };
        server.run(&mut backend).unwrap();
        backend
    });
    let driven = drive();
    (driven, serving.join().unwrap())
}

#[test]
fn our_client_drives_its_device_with_areas_that_are_mapped() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = memfd_create("bar", flags).unwrap();
    ftruncate(&file, 1 << 16).unwrap();
    fcntl_add_seals(&file, SealFlags::SHRINK).unwrap();
    let ((), backend) = with_its_server(&path, &file, || {
        let session = open(&sys(), &path).unwrap();
        let device = &session.device;
        let mut bar0 = device.bring_up(pci_region::BAR0).unwrap();
        bar0.write::<u32>(8, 77).unwrap();
        assert_eq!(bar0.read::<u32>(8).unwrap(), 77);
        let mut reply = [0; 128];
        let region = device.region(pci_region::BAR2, &mut reply).unwrap();
        let mut bar2: Window<MappedRegion<_>> = device.map(&region, 0).unwrap();
        assert!(
            format!("{bar2:?}").contains("len: 65536, mapped: 12288"),
            "{bar2:?}"
        );
        // In an area, and by a message beside it.
        bar2.write::<u32>(0x1000, 5).unwrap();
        bar2.write::<u32>(0, 6).unwrap();
        drop(device.vectors::<1>(pci_irq::MSI).unwrap());
        device.reset().unwrap();
    });
    let mut seen = [0; 4];
    let file = File::from(file);
    file.read_exact_at(&mut seen, 0x1000).unwrap();
    assert_eq!(u32::from_ne_bytes(seen), 5);
    file.read_exact_at(&mut seen, 0).unwrap();
    assert_eq!(seen, [0; 4]);
    assert_eq!(backend.bar[..4], [6, 0, 0, 0]);
    // INTx is off, decoding and mastering are on.
    assert_eq!(backend.config[4..6], [6, 4]);
    let asked = [
        "interrupts 1 0x24 0 1, events: 1",
        "interrupts 1 0x21 0 0, events: 0",
        "reset",
    ];
    assert_eq!(backend.asked, asked);
}

//! Regions, read and written through the file of the device.

use std::sync::{Arc, Mutex};
use std::vec;
use std::vec::Vec;

use vfio_core::query;
use vfio_core::wire::abi::{DeviceFlags, RegionFlags};

use super::*;
use crate::model::{self, Bar, Bus, Config, Description, MsixTable, RegionDescription, Registers};

const CONFIG: u64 = 7 << 40;

fn read<const N: usize>(opened: &Opened, offset: u64) -> Result<[u8; N], Errno> {
    let mut data = [0xa5; N];
    let len = opened.kernel.pread(&opened.device, &mut data, offset)?;
    assert_eq!(len, N);
    Ok(data)
}

fn write(opened: &Opened, offset: u64, data: &[u8]) -> Result<usize, Errno> {
    opened.kernel.pwrite(&opened.device, data, offset)
}

#[test]
fn edu_answers_in_its_bar() {
    let opened = open(model::edu());
    assert_eq!(read(&opened, 0), Ok(0x0100_00ed_u32.to_le_bytes()));
    assert_eq!(write(&opened, 4, &0xdead_beef_u32.to_le_bytes()), Ok(4));
    assert_eq!(read(&opened, 4), Ok((!0xdead_beef_u32).to_le_bytes()));
    assert_eq!(write(&opened, 8, &10_u32.to_le_bytes()), Ok(4));
    let mut reads = 1;
    while read(&opened, 0x20) == Ok(1_u32.to_le_bytes()) {
        reads += 1;
    }
    assert_eq!(reads, 3);
    assert_eq!(read(&opened, 8), Ok(3_628_800_u32.to_le_bytes()));
}

#[test]
fn ids_are_in_the_configuration_space() {
    let ids = [
        ("edu", [0x34, 0x12, 0xe8, 0x11]),
        ("igd", [0x86, 0x80, 0x12, 0x19]),
        ("msix", [0x36, 0x1b, 0x10, 0x00]),
    ];
    for (name, ids) in ids {
        let opened = open(Model::by_name(name).unwrap());
        assert_eq!(read(&opened, CONFIG), Ok(ids), "{name}");
        assert_eq!(write(&opened, CONFIG, &[0xff; 4]), Ok(4));
        assert_eq!(read(&opened, CONFIG), Ok(ids), "{name}");
        write(&opened, CONFIG + 0x10, &[0xff; 4]).unwrap();
        let bar = u32::from_le_bytes(read(&opened, CONFIG + 0x10).unwrap());
        let size = query::region(&opened.kernel, &opened.device, 0, &mut [0; 64])
            .unwrap()
            .size;
        assert_eq!(u64::from(!(bar & !0xf)) + 1, size, "{name}");
    }
}

#[test]
fn the_configuration_space_has_no_short_transfers() {
    let opened = open(model::edu());
    assert_eq!(read::<4>(&opened, CONFIG + 252), Ok([0; 4]));
    assert_eq!(read::<4>(&opened, CONFIG + 253), Err(Errno::EFAULT));
    assert_eq!(write(&opened, CONFIG + 253, &[0; 4]), Err(Errno::EFAULT));
    assert_eq!(read::<1>(&opened, CONFIG + 256), Err(Errno::EINVAL));
}

#[test]
fn memory_that_is_not_decoded_is_an_error() {
    let opened = open(model::edu());
    assert_eq!(write(&opened, CONFIG + 4, &[0, 0]), Ok(2));
    assert_eq!(read::<4>(&opened, 0), Err(Errno::EIO));
    assert_eq!(write(&opened, 4, &[0; 4]), Err(Errno::EIO));
    assert!(read::<4>(&opened, CONFIG).is_ok());
    assert_eq!(write(&opened, CONFIG + 4, &[2, 0]), Ok(2));
    assert!(read::<4>(&opened, 0).is_ok());

    // The next to open the device finds it decoding.
    write(&opened, CONFIG + 4, &[0, 0]).unwrap();
    let Opened {
        kernel,
        device,
        group,
        container,
    } = opened;
    drop(device);
    let device = open_device(&kernel, &group).unwrap();
    let opened = Opened {
        kernel,
        container,
        group,
        device,
    };
    assert!(read::<4>(&opened, 0).is_ok());
}

#[test]
fn io_ports_do_not_need_memory_decoding() {
    let trapped = RegionFlags::READ | RegionFlags::WRITE;
    let config = Config::pci(0x1af4, 0x1000, 0x02_0000, 0).with_bar(0, Bar::Io { size: 32 });
    let opened = open(Model::new(Description {
        flags: DeviceFlags::PCI,
        regions: vec![Some(RegionDescription::new(0, trapped, 32))],
        config,
        ..Default::default()
    }));
    assert_eq!(write(&opened, 0, b"port"), Ok(4));
    assert_eq!(read(&opened, 0), Ok(*b"port"));
}

#[test]
fn transfers_end_with_the_region() {
    let opened = open(model::sparse());
    let bar2 = 2 << 40;
    let size = 64 << 10;
    assert_eq!(write(&opened, bar2 + size - 4, b"vfio, and more"), Ok(4));
    let mut data = [0xa5; 8];
    let len = opened
        .kernel
        .pread(&opened.device, &mut data, bar2 + size - 4);
    assert_eq!((len, &data), (Ok(4), b"vfio\xa5\xa5\xa5\xa5"));
    for offset in [bar2 + size, 1 << 40, 9 << 40, u64::MAX] {
        assert_eq!(read::<1>(&opened, offset), Err(Errno::EINVAL));
        assert_eq!(write(&opened, offset, &[0]), Err(Errno::EINVAL));
    }
    assert_eq!(read::<0>(&opened, u64::MAX), Ok([]));
}

#[test]
fn read_only_regions_refuse_writes() {
    let opened = open(model::igd());
    assert_eq!(read(&opened, 9 << 40), Ok(*b"IntelGraphicsMem"));
    assert_eq!(read(&opened, 10 << 40), Ok([0x86, 0x80, 0xc0, 0x29]));
    for index in [6, 9, 10, 11] {
        assert_eq!(write(&opened, index << 40, &[0]), Err(Errno::EINVAL));
    }
}

#[test]
fn a_large_bar_takes_no_room() {
    let size = 8 << 30;
    let config = Config::pci(0x1b36, 0x0005, 0x00_ff00, 0).with_bar(2, Bar::Memory64 { size });
    let trapped = RegionFlags::READ | RegionFlags::WRITE;
    let opened = open(Model::new(Description {
        flags: DeviceFlags::PCI,
        regions: vec![None, None, Some(RegionDescription::new(2, trapped, size))],
        config,
        ..Default::default()
    }));
    for offset in [0, 4 << 30, size - 8] {
        assert_eq!(read(&opened, (2 << 40) + offset), Ok([0; 8]));
        assert_eq!(write(&opened, (2 << 40) + offset, b"8 bytes!"), Ok(8));
        assert_eq!(read(&opened, (2 << 40) + offset), Ok(*b"8 bytes!"));
    }
}

#[test]
fn the_msix_table_is_out_of_reach() {
    let opened = open(model::msix());
    // The table is at 0x2000, 1040 bytes long.
    assert_eq!(write(&opened, 0x1ffc, &[0; 1048]), Ok(1048));
    let mut expected = [0xff; 1048];
    expected[..4].fill(0);
    expected[1044..].fill(0);
    assert_eq!(read(&opened, 0x1ffc), Ok(expected));
}

/// Keeps the accesses that it sees.
struct Recorder(Arc<Mutex<Vec<(u64, usize)>>>);

impl Registers for Recorder {
    fn read(&mut self, _: u32, offset: u64, data: &mut [u8], _: &mut Bus<'_>) {
        self.0.lock().unwrap().push((offset, data.len()));
    }

    fn write(&mut self, region: u32, offset: u64, data: &[u8], bus: &mut Bus<'_>) {
        self.read(region, offset, &mut data.to_vec(), bus);
    }

    fn reset(&mut self, _: &mut Bus<'_>) {}
}

#[test]
fn accesses_are_taken_apart_and_aligned() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let flags = RegionFlags::READ | RegionFlags::WRITE;
    let description = Description {
        flags: DeviceFlags::PCI,
        regions: (0..7)
            .map(|index| Some(RegionDescription::new(index, flags, 64)))
            .collect(),
        msix_table: Some(MsixTable {
            region: 1,
            offset: 16,
            size: 16,
        }),
        ..Default::default()
    };
    let model = Model::new(description).with_registers(Recorder(Arc::clone(&seen)));
    let opened = open(model);
    let taken = |offset: u64, len: usize| {
        let done = write(&opened, offset, &vec![0; len]).unwrap();
        assert!(done <= len);
        std::mem::take(&mut *seen.lock().unwrap())
    };
    assert_eq!(taken(0, 4), [(0, 4)]);
    assert_eq!(taken(1, 15), [(1, 1), (2, 2), (4, 4), (8, 8)]);
    assert_eq!(taken(56, 100), [(56, 8)]);
    let rom = 6 << 40;
    assert_eq!(taken(rom, 11), [(0, 4), (4, 4), (8, 2), (10, 1)]);
    let table = 1 << 40;
    assert_eq!(taken(table + 12, 24), [(12, 4), (32, 4)]);
    assert_eq!(taken(table + 20, 4), []);
}

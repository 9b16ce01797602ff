//! Does the NVMe driver lose no data, whoever reads them?

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use vfio_core::device::Device as Opened;
use vfio_core::dma::Dma;
use vfio_core::open::{Mode as SessionMode, Session};
use vfio_core::wire::abi::pci_region;
use vfio_drivers::nvme::{Controller, Namespace, Options, QueueOptions, State};
use vfio_exercise::Outcome;
use vfio_exercise::nvme::{KEPT, Lent, Report, Step, exercise, run};
use vfio_guest::{Device, Stretch};
use vfio_hosted::linux::Linux;

use crate::bind;
use crate::mode::{InGuest as _, Mode};
use crate::world::{World, place};

/// Runs the whole reference driver.
pub(crate) fn driver(_: &World, device: &Device, mode: Mode) -> Result<String> {
    let (space, device) = mode.open(device)?;
    let bar0 = device.bring_up(pci_region::BAR0)?;
    let dma = Dma::<_, 64>::new(Linux, space)?;
    let mut seen = Vec::new();
    let mut kept = vec![0; KEPT];
    for shadow_doorbells in [false, true] {
        let options = Options {
            shadow_doorbells,
            ..Options::default()
        };
        let lent = Lent {
            kept: &mut kept,
            ends: &AtomicBool::new(false),
        };
        let report = exercise(&device, bar0.share(), &dma, options, lent);
        seen.push(passed(&report)?);
    }
    let left = dma.space().unmap_all();
    ensure!(
        matches!(left, Ok(0) | Err(vfio_core::sys::Errno::ENOENT)),
        "left mapped: {left:?}"
    );
    Ok(seen.join("; with shadow doorbells "))
}

/// Runs the reference driver where there is no IOMMU.
pub(crate) fn without_iommu(_: &World, device: &Device) -> Result<String> {
    let session = Session::open(&Linux, &place(device)?.as_place())?;
    ensure!(session.mode == SessionMode::NoIommu, "{}", session.mode);
    let lent = Lent {
        kept: &mut vec![0; KEPT],
        ends: &AtomicBool::new(false),
    };
    passed(&run(Linux, session, lent)?)
}

/// Checks that every step has passed. QEMU keeps no error log.
fn passed<E: core::fmt::Debug>(report: &Report<E>) -> Result<String> {
    let mut count = 0;
    for (step, outcome) in &report.steps {
        match outcome {
            Outcome::Passed => count += 1,
            Outcome::NotThere if *step == Step::ErrorLog => (),
            _ => bail!("{}: {outcome:?}", step.name()),
        }
    }
    Ok(format!("{count} steps passed"))
}

/// Checks that the kernel's own driver reads what the driver writes, and the other way. Sizes and
/// places are random, depths are all, again and again.
pub(crate) fn with_the_kernels(_: &World, device: &Device) -> Result<String> {
    let mut random = Random(0x5eed_0001);
    let mut written = 0;
    let mut expected = Vec::new();
    for round in 0..3_u64 {
        // Ours writes, and the kernel's reads.
        drive(device, |pairs| {
            let len = usize::try_from(pairs.namespace.size())?;
            if expected.is_empty() {
                expected = vec![0; len];
                pairs.write::<32>(0, &expected)?;
            }
            let size = usize::try_from(pairs.namespace.block_size())?;
            for turn in 0..DEPTHS {
                let at = random.extent(len, size);
                random.fill(&mut expected[at.clone()]);
                pairs.write_at_depth(turn, at.start, &expected[at.clone()])?;
                written += at.len();
            }
            pairs.flush()
        })?;
        bind::rebind(device, "nvme")?;
        let disk = disk(device)?;
        let mut seen = Vec::new();
        File::open(&disk)?.read_to_end(&mut seen)?;
        same(&seen, &expected).with_context(|| format!("read by the kernel, round {round}"))?;
        // The kernel's writes, and ours reads.
        let mut file = fs::OpenOptions::new().write(true).open(&disk)?;
        for _ in 0..DEPTHS {
            let at = random.extent(expected.len(), 512);
            random.fill(&mut expected[at.clone()]);
            file.seek(SeekFrom::Start(u64::try_from(at.start)?))?;
            file.write_all(&expected[at.clone()])?;
            written += at.len();
        }
        file.sync_all()?;
        drop(file);
        bind::bind(device)?;
        drive(device, |pairs| {
            let size = usize::try_from(pairs.namespace.block_size())?;
            for turn in 0..DEPTHS {
                let at = random.extent(expected.len(), size);
                let mut seen = vec![0; at.len()];
                pairs.read_at_depth(turn, at.start, &mut seen)?;
                same(&seen, &expected[at])?;
            }
            let mut seen = vec![0; expected.len()];
            pairs.read::<32>(0, &mut seen)?;
            same(&seen, &expected).with_context(|| format!("read by ours, round {round}"))
        })?;
    }
    Ok(format!("{} KiB written in 3 rounds", written >> 10))
}

/// Writes what the host then looks for, and flushes.
pub(crate) fn until_power_goes(_: &World, device: &Device) -> Result<String> {
    let mut written = 0;
    drive(device, |pairs| {
        for (turn, stretch) in Stretch::of_disk(pairs.namespace.size()).enumerate() {
            let at = usize::try_from(stretch.at)?;
            pairs.write_at_depth(turn % DEPTHS, at, &stretch.bytes())?;
            written += stretch.len;
        }
        pairs.flush()?;
        // No shutdown, which would flush as well.
        pairs.controller.stop();
        Ok(())
    })?;
    Ok(format!("{} KiB written", written >> 10))
}

/// How many depths there are.
const DEPTHS: usize = 10;

/// A started controller, with its first namespace.
struct Pairs<'c, 'd> {
    controller: &'c Controller<&'d Opened<Linux>, &'d Dma<Linux, 64>>,
    namespace: Namespace,
    random: Random,
}

/// Drives a device that is bound to vfio-pci.
fn drive(device: &Device, run: impl FnOnce(&mut Pairs<'_, '_>) -> Result<()>) -> Result<()> {
    let session = Session::open(&Linux, &place(device)?.as_place())?;
    let device: &Opened<Linux> = &session.device;
    let bar0 = device.bring_up(pci_region::BAR0)?;
    let dma = Dma::<_, 64>::new(Linux, session.space)?;
    let controller = Controller::start(device, bar0, &dma, Options::default())?;
    let namespace = controller.namespace(1)?;
    run(&mut Pairs {
        controller: &controller,
        namespace,
        random: Random(7),
    })?;
    match controller.state() {
        State::Running => Ok(controller.shut_down()?),
        _ => Ok(()),
    }
}

impl Pairs<'_, '_> {
    /// Slots of a random length.
    fn options(&mut self) -> QueueOptions {
        QueueOptions {
            slot: (1 + self.random.below(32)) * 4096,
            ..Default::default()
        }
    }

    fn lba(&self, at: usize) -> Result<u64> {
        Ok(u64::try_from(at)? / u64::from(self.namespace.block_size()))
    }

    fn write<const DEPTH: usize>(&mut self, at: usize, data: &[u8]) -> Result<()> {
        let lba = self.lba(at)?;
        let mut pair = self.controller.queue_pair::<DEPTH>(self.options())?;
        Ok(pair.write_blocks(&self.namespace, lba, data)?)
    }

    fn read<const DEPTH: usize>(&mut self, at: usize, data: &mut [u8]) -> Result<()> {
        let lba = self.lba(at)?;
        let mut pair = self.controller.queue_pair::<DEPTH>(self.options())?;
        Ok(pair.read_blocks(&self.namespace, lba, data)?)
    }

    fn flush(&mut self) -> Result<()> {
        let mut pair = self.controller.queue_pair::<1>(self.options())?;
        Ok(pair.flush_blocks(&self.namespace)?)
    }

    fn write_at_depth(&mut self, turn: usize, at: usize, data: &[u8]) -> Result<()> {
        match turn {
            0 => self.write::<1>(at, data),
            1 => self.write::<2>(at, data),
            2 => self.write::<3>(at, data),
            3 => self.write::<4>(at, data),
            4 => self.write::<7>(at, data),
            5 => self.write::<8>(at, data),
            6 => self.write::<16>(at, data),
            7 => self.write::<32>(at, data),
            8 => self.write::<64>(at, data),
            _ => self.write::<128>(at, data),
        }
    }

    fn read_at_depth(&mut self, turn: usize, at: usize, data: &mut [u8]) -> Result<()> {
        match turn {
            0 => self.read::<1>(at, data),
            1 => self.read::<2>(at, data),
            2 => self.read::<3>(at, data),
            3 => self.read::<4>(at, data),
            4 => self.read::<7>(at, data),
            5 => self.read::<8>(at, data),
            6 => self.read::<16>(at, data),
            7 => self.read::<32>(at, data),
            8 => self.read::<64>(at, data),
            _ => self.read::<128>(at, data),
        }
    }
}

/// Returns the disk that the kernel's driver makes of a controller, once it is there.
pub(super) fn disk(device: &Device) -> Result<PathBuf> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let directory = format!("{}/nvme", device.sysfs());
    while Instant::now() < deadline {
        if let Ok(mut entries) = fs::read_dir(&directory)
            && let Some(Ok(controller)) = entries.next()
        {
            let name = controller.file_name().to_string_lossy().into_owned();
            let disk = PathBuf::from(format!("/dev/{name}n1"));
            // It has a size once it can be read.
            let len = File::open(&disk).and_then(|mut file| file.seek(SeekFrom::End(0)));
            if len.is_ok_and(|len| len > 0) {
                return Ok(disk);
            }
        }
        sleep(Duration::from_millis(20));
    }
    bail!("the kernel's nvme driver makes no disk of it")
}

/// Checks that two copies are the same.
fn same(seen: &[u8], expected: &[u8]) -> Result<()> {
    ensure!(
        seen.len() == expected.len(),
        "{} bytes in place of {}",
        seen.len(),
        expected.len()
    );
    match seen
        .iter()
        .zip(expected)
        .position(|(one, other)| one != other)
    {
        None => Ok(()),
        Some(at) => bail!("byte {at:#x} differs"),
    }
}

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 16).unwrap_or(0) % limit.max(1)
    }

    /// Returns a stretch of up to a sixteenth of `len` bytes, in units of `size` bytes.
    fn extent(&mut self, len: usize, size: usize) -> core::ops::Range<usize> {
        let units = len / size;
        let start = self.below(units);
        let most = (units / 16).min(units - start).max(1);
        let count = 1 + self.below(most);
        start * size..(start + count) * size
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

//! The driver of the 82576 on the simulated kernel: copies, recovery, and everything that can go
//! wrong with a card.

mod card;

use std::time::Duration;

use vfio_core::device::Device;
use vfio_core::device::irq::Vectors;
use vfio_core::device::region::MappedRegion;
use vfio_core::dma::{Direction, Dma};
use vfio_core::mmio::Window;
use vfio_core::open::{Mode, Place, Session};
use vfio_core::sys::NoIommu;
use vfio_core::wire::abi::{pci_irq, pci_region};
use vfio_drivers::igb::{Copied, FRAME_LEAST, FRAME_MOST, Igb, IgbError, Ring};
use vfio_hosted::model::{DmaAccess, FaultReason};
use vfio_hosted::sim::{Kernel, MappingError};

use card::{Shared, Trouble};

const NAME: &str = "0000:01:00.0";
const C_NAME: &std::ffi::CStr = c"0000:01:00.0";
const GROUP: u32 = 3;

/// Few enough descriptors for a copy to go round more than once.
type Driver<'d> = Igb<MappedRegion<&'d Device<Kernel>>, &'d Dma<Kernel, 16>, 16>;
type Failure = IgbError<MappingError>;

/// Bytes to copy.
const LEN: usize = 40 * FRAME_MOST;
/// The longest that an interrupt may take.
const SOON: Duration = Duration::from_millis(50);
/// Where nothing is mapped.
const NOWHERE: u64 = 1 << 30;

/// An open card, and where its memory is mapped.
struct Opened<'d> {
    device: &'d Device<Kernel>,
    dma: &'d Dma<Kernel, 16>,
}

impl<'d> Opened<'d> {
    fn driver(&self) -> Result<Driver<'d>, Failure> {
        let bar0 = self.device.bring_up(pci_region::BAR0).unwrap();
        let buffer = || self.dma.buffer(LEN, Direction::Both).unwrap();
        let copied = Copied {
            source: buffer(),
            target: buffer(),
        };
        Igb::new(bar0, self.dma, copied)
    }

    fn vectors(&self) -> Vectors<&'d Device<Kernel>, 1> {
        self.device.vectors(pci_irq::MSIX).unwrap()
    }

    /// Copies, and compares everything that is there afterwards.
    fn copies(&self, driver: &mut Driver<'_>, len: usize) -> Result<(), Failure> {
        let Copied { source, target } = driver.memory()?;
        for at in 0..LEN {
            Window::new(source).write(at, byte(at)).unwrap();
            Window::new(target).write(at, 0_u8).unwrap();
        }
        driver.copy(len)?;
        let Copied { target, .. } = driver.memory()?;
        let mut window = Window::new(target);
        let copied: Vec<u8> = (0..LEN).map(|at| window.read(at).unwrap()).collect();
        let expected = (0..LEN).map(|at| if at < len { byte(at) } else { 0 });
        assert!(copied.into_iter().eq(expected), "{len} bytes");
        Ok(())
    }
}

/// Copies between addresses, mapped or not.
#[expect(unsafe_code, reason = "the addresses are the test's to choose")]
fn copy_at(driver: &mut Driver<'_>, from: u64, to: u64, len: usize) -> Result<(), Failure> {
    // SAFETY: no device of the simulated kernel reaches memory of Rust's.
    unsafe { driver.copy_at(from, to, len) }
}

fn byte(at: usize) -> u8 {
    u8::try_from(at * 7 % 251).unwrap()
}

/// Opens a card in `mode` and runs `test`, after which nothing must be left.
fn with_card(mode: Mode, card: &Shared, test: impl FnOnce(Opened<'_>, &Kernel)) {
    let kernel = Kernel::new();
    let kernel = if mode == Mode::NoIommu {
        kernel.with_noiommu_device(NAME, card.model(), GROUP)
    } else {
        kernel.with_device(NAME, card.model(), GROUP)
    };
    let cdev = kernel.device_path(NAME);
    let place = Place {
        name: C_NAME,
        group: Some(GROUP),
        is_noiommu: mode == Mode::NoIommu,
        // SAFETY: a simulated device reaches nothing but the pages that the simulated kernel gave
        // out, which are atomic words that it keeps for as long as they are reached.
        noiommu: Some(unsafe { NoIommu::acknowledge() }),
        cdev: cdev.as_deref(),
        ..Default::default()
    };
    let session = Session::open_in(mode, &kernel, &place).unwrap();
    let dma = Dma::new(kernel.clone(), session.space).unwrap();
    let opened = Opened {
        device: &session.device,
        dma: &dma,
    };
    test(opened, &kernel);
    assert!(!card.is_running(), "its queues are on");
    let left = (
        kernel.live_mappings(),
        kernel.live_dma_mappings(),
        kernel.open_events(),
    );
    assert_eq!(left, (0, 0, 0));
}

/// Returns the error of a driver that starts a card in trouble.
fn refused(trouble: Trouble) -> Failure {
    let mut failure = None;
    let card = Shared::with(trouble);
    with_card(Mode::Iommufd, &card, |opened, _| {
        failure = opened.driver().err();
        card.set(Trouble::None);
        drop(opened.driver().unwrap());
    });
    failure.unwrap()
}

/// Returns the error of a copy when trouble begins. The next copy is whole.
fn failed(trouble: Trouble) -> Failure {
    let mut failure = None;
    let card = Shared::default();
    with_card(Mode::Iommufd, &card, |opened, _| {
        let mut driver = opened.driver().unwrap();
        card.set(trouble);
        failure = opened.copies(&mut driver, LEN).err();
        card.set(Trouble::None);
        assert_eq!(opened.copies(&mut driver, LEN), Ok(()));
    });
    failure.unwrap()
}

#[test]
fn it_copies_and_interrupts_in_every_mode() {
    for mode in Mode::PREFERRED {
        with_card(mode, &Shared::default(), |opened, kernel| {
            let vectors = opened.vectors();
            let mut driver = opened.driver().unwrap();
            for len in [
                FRAME_LEAST,
                FRAME_MOST,
                FRAME_MOST + 1,
                16 * FRAME_MOST + FRAME_LEAST - 1,
                LEN,
            ] {
                assert_eq!(opened.copies(&mut driver, len), Ok(()), "{mode}");
            }
            assert_eq!(vectors.take(0), Ok(0));
            assert_eq!(driver.raise(&vectors, SOON), Ok(1));
            assert_eq!(driver.raise(&vectors, SOON), Ok(1));
            assert_eq!(driver.remove().map(drop), Ok(()));
            assert_eq!(kernel.faults(), []);
        });
    }
}

#[test]
fn it_is_started_again_and_again() {
    with_card(Mode::Type1v2, &Shared::default(), |opened, kernel| {
        for _ in 0..10 {
            let mut driver = opened.driver().unwrap();
            assert_eq!(opened.copies(&mut driver, LEN), Ok(()));
        }
        // Its memory went with it.
        assert_eq!(kernel.live_dma_mappings(), 0);
    });
}

#[test]
fn what_is_not_mapped_faults_and_the_next_copy_is_whole() {
    with_card(Mode::Type1, &Shared::default(), |opened, kernel| {
        let mut driver = opened.driver().unwrap();
        let Copied { source, target } = driver.memory().unwrap();
        let (from, to) = (source.iova(), target.iova());
        let lost = IgbError::Lost {
            ring: Ring::Receive,
        };
        assert_eq!(copy_at(&mut driver, NOWHERE, to, FRAME_MOST), Err(lost));
        assert_eq!(opened.copies(&mut driver, LEN), Ok(()));
        assert_eq!(copy_at(&mut driver, from, NOWHERE, FRAME_MOST), Ok(()));
        assert_eq!(opened.copies(&mut driver, LEN), Ok(()));
        let faults = kernel.faults().into_iter();
        let seen: Vec<_> = faults
            .map(|fault| (fault.iova, fault.access, fault.reason))
            .collect();
        let unmapped = |access| (NOWHERE, access, FaultReason::Unmapped);
        assert_eq!(
            seen,
            [unmapped(DmaAccess::Read), unmapped(DmaAccess::Write)]
        );
    });
}

#[test]
fn a_card_that_does_not_start_says_why() {
    assert_eq!(refused(Trouble::Gone), IgbError::Gone);
    assert_eq!(refused(Trouble::Resets), IgbError::Reset);
    assert_eq!(refused(Trouble::Phy), IgbError::Phy);
    assert_eq!(refused(Trouble::PhySilent), IgbError::Phy);
    assert_eq!(refused(Trouble::NoReceive), IgbError::Queue(Ring::Receive));
}

#[test]
fn a_copy_that_fails_says_why() {
    let [receive, transmit] = [Ring::Receive, Ring::Transmit].map(|ring| IgbError::Lost { ring });
    assert_eq!(failed(Trouble::NotSent), transmit);
    for frame in [0, 14, 39] {
        assert_eq!(failed(Trouble::Loses(frame)), receive);
    }
    assert_eq!(failed(Trouble::Gone), IgbError::Gone);
    let frame = |status, len| IgbError::Frame {
        status,
        len,
        sent: 1024,
    };
    assert_eq!(failed(Trouble::Shortens), frame(0b11, 1023));
    assert_eq!(failed(Trouble::Damages), frame(0x8000_0003, 1024));
}

#[test]
fn a_queue_that_does_not_stop_is_told() {
    let card = Shared::default();
    with_card(Mode::Iommufd, &card, |opened, _| {
        let driver = opened.driver().unwrap();
        card.set(Trouble::Transmits);
        let removed = driver.remove().map(drop);
        assert_eq!(removed, Err(IgbError::Queue(Ring::Transmit)));
    });
}

#[test]
fn what_can_not_be_copied_is_refused() {
    with_card(Mode::Iommufd, &Shared::default(), |opened, _| {
        let mut driver = opened.driver().unwrap();
        let short = IgbError::TooShort { len: 59, least: 60 };
        assert_eq!(opened.copies(&mut driver, 59), Err(short));
        let len = LEN + 1;
        let long = IgbError::TooLong { len, most: LEN };
        assert_eq!(driver.copy(len), Err(long));
        let iova = u64::MAX - 100;
        let past = Err(IgbError::Address { iova });
        assert_eq!(copy_at(&mut driver, iova, 0, 200), past);
        assert_eq!(copy_at(&mut driver, 0, iova, 200), past);
    });
}

#[test]
fn a_link_or_an_interrupt_that_does_not_come_is_told() {
    let card = Shared::with(Trouble::NoLink);
    with_card(Mode::Iommufd, &card, |opened, _| {
        let vectors = opened.vectors();
        let mut driver = opened.driver().unwrap();
        assert_eq!(driver.until_linked(100), Err(IgbError::NoLink));
        card.set(Trouble::Silent);
        let raised = driver.raise(&vectors, SOON);
        assert_eq!(raised, Err(IgbError::NoInterrupt));
        card.set(Trouble::None);
        assert_eq!(driver.raise(&vectors, SOON), Ok(1));
        drop(driver);
        let mut driver = opened.driver().unwrap();
        assert_eq!(driver.until_linked(100), Ok(()));
        assert_eq!(opened.copies(&mut driver, LEN), Ok(()));
    });
}

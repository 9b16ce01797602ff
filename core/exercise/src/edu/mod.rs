//! Tries the driver of QEMU's educational device.

mod run;
mod step;

use core::convert::Infallible;

use vfio_core::device::DeviceHandle;
use vfio_core::device::irq::Vectors;
use vfio_core::dma::{Direction, DmaHandle};
use vfio_core::mmio::{Access, Window};
use vfio_core::wire::abi::pci_irq;
use vfio_drivers::edu::{COPY_MOST, DMA_HIGHEST, DmaEngine, Edu, EduError};

pub use run::run;
pub use step::Step;

use crate::Outcome;
use crate::report::same;

/// How each step went; `E` is how a register access can fail.
pub type Report<E> = crate::Report<Step, EduError<E>, Infallible, { Step::ALL.len() }>;

/// Bytes that are copied to the device and back: whole words.
const COPIED: usize = 4088;
/// The same, as an address.
const COPIED_64: u64 = 4088;

const _: () = assert!(COPIED == COPY_MOST / 8 * 8);

/// Numbers whose factorials are compared, with the factorials in 32 bits.
static FACTORIALS: [(u32, u32); 4] = [(0, 1), (5, 120), (12, 479_001_600), (13, 1_932_053_504)];

/// Tries every step on the `device` whose BAR 0 is `bar0`, with memory of `dma`. Its bus
/// mastering must be on.
///
/// After a step that fails, those that build on it are [`Outcome::NotRun`].
pub fn exercise<D: DeviceHandle, A: Access, M: DmaHandle>(
    device: D,
    bar0: Window<A>,
    dma: M,
) -> Report<A::Error> {
    let mut report = Report::new(Step::ALL);
    let mut trial = Trial {
        device,
        dma: Some(dma),
        bar0: Some(bar0),
        edu: None,
        engine: None,
        vectors: None,
    };
    for (step, outcome) in &mut report.steps {
        *outcome = match trial.run(*step) {
            Ok(()) => Outcome::Passed,
            Err(outcome) => outcome,
        };
        if *step == Step::Identify && !matches!(outcome, Outcome::Passed) {
            break;
        }
    }
    report
}

/// What the steps leave for each other.
struct Trial<D: DeviceHandle, A: Access, M: DmaHandle> {
    device: D,
    dma: Option<M>,
    bar0: Option<Window<A>>,
    /// The device, until it has an engine.
    edu: Option<Edu<A>>,
    engine: Option<DmaEngine<A, M>>,
    vectors: Option<Vectors<D, 1>>,
}

/// Returns the word `index` of what is copied: no two are the same.
const fn pattern(index: u64) -> u64 {
    index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl<D: DeviceHandle, A: Access, M: DmaHandle> Trial<D, A, M> {
    #[inline(never)]
    fn run(&mut self, step: Step) -> Result<(), Outcome<EduError<A::Error>>> {
        match step {
            Step::Identify => self.identify(),
            Step::Liveness => self.liveness(),
            Step::FactorialPolled => self.factorial_polled(),
            Step::DmaMask => self.dma_mask(),
            Step::Dma => self.dma(),
            Step::Interrupt => self.interrupt(),
            Step::FactorialInterrupt => self.factorial_interrupt(),
            Step::DmaInterrupt => self.dma_interrupt(),
        }
    }

    /// Returns the device, with its engine or without.
    fn edu(&mut self) -> Result<&mut Edu<A>, Outcome<EduError<A::Error>>> {
        match (&mut self.engine, &mut self.edu) {
            (Some(engine), _) => Ok(engine.edu()?),
            (None, Some(edu)) => Ok(edu),
            (None, None) => Err(Outcome::NotRun),
        }
    }

    fn identify(&mut self) -> Result<(), Outcome<EduError<A::Error>>> {
        let bar0 = self.bar0.take().ok_or(Outcome::NotRun)?;
        let edu = Edu::new(bar0)?;
        let (major, _) = edu.version()?;
        same(1_u8, major)?;
        self.edu = Some(edu);
        Ok(())
    }

    fn liveness(&mut self) -> Result<(), Outcome<EduError<A::Error>>> {
        let edu = self.edu()?;
        for word in &[0, u32::MAX, 0x1234_5678] {
            same(true, edu.is_alive(*word)?)?;
        }
        Ok(())
    }

    fn factorial_polled(&mut self) -> Result<(), Outcome<EduError<A::Error>>> {
        let edu = self.edu()?;
        for (n, factorial) in &FACTORIALS {
            same(*factorial, edu.factorial(*n)?)?;
        }
        Ok(())
    }

    fn dma_mask(&mut self) -> Result<(), Outcome<EduError<A::Error>>> {
        let (Some(edu), Some(dma)) = (self.edu.take(), self.dma.take()) else {
            return Err(Outcome::NotRun);
        };
        let engine = DmaEngine::new(edu, dma, Direction::Both)?;
        let memory = self.engine.insert(engine).memory()?;
        let last = memory.iova().saturating_add(COPIED_64);
        same(true, last.saturating_sub(1) <= DMA_HIGHEST)
    }

    // Alone, as its copy takes up stack.
    #[inline(never)]
    fn dma(&mut self) -> Result<(), Outcome<EduError<A::Error>>> {
        let engine = self.engine.as_mut().ok_or(Outcome::NotRun)?;
        let mut bytes = [0; COPIED];
        for (at, word) in (0_u64..).zip(bytes.as_chunks_mut::<8>().0) {
            *word = pattern(at).to_le_bytes();
        }
        engine.write(&bytes)?;
        bytes.fill(0);
        // Nothing of the pattern is left in memory.
        Window::new(engine.memory()?)
            .write_bytes(0, &bytes)
            .map_err(|_| Outcome::Memory)?;
        engine.read(&mut bytes)?;
        compare(&bytes)
    }

    fn interrupt(&mut self) -> Result<(), Outcome<EduError<A::Error>>> {
        let vectors = Vectors::new(self.device.clone(), pci_irq::MSI).map_err(Outcome::Irq)?;
        let edu = self.edu()?;
        for bits in &[1, 0x8000_0000] {
            edu.raise(*bits, &vectors)?;
        }
        self.vectors = Some(vectors);
        Ok(())
    }

    fn factorial_interrupt(&mut self) -> Result<(), Outcome<EduError<A::Error>>> {
        let vectors = self.vectors.take().ok_or(Outcome::NotRun)?;
        let edu = self.edu()?;
        for (n, factorial) in &FACTORIALS {
            same(*factorial, edu.factorial_by_interrupt(*n, &vectors)?)?;
        }
        self.vectors = Some(vectors);
        Ok(())
    }

    #[inline(never)]
    fn dma_interrupt(&mut self) -> Result<(), Outcome<EduError<A::Error>>> {
        let engine = self.engine.as_mut().ok_or(Outcome::NotRun)?;
        let vectors = self.vectors.as_ref().ok_or(Outcome::NotRun)?;
        let mut bytes = [0; COPIED];
        Window::new(engine.memory()?)
            .write_bytes(0, &bytes)
            .map_err(|_| Outcome::Memory)?;
        engine.read_by_interrupt(&mut bytes, vectors)?;
        compare(&bytes)
    }
}

/// Checks that memory holds what was sent to the device.
fn compare<E>(bytes: &[u8; COPIED]) -> Result<(), Outcome<E>> {
    for (at, word) in (0_u64..).zip(bytes.as_chunks::<8>().0) {
        same(pattern(at), u64::from_le_bytes(*word))?;
    }
    Ok(())
}

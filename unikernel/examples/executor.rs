//! An executor of one task, which awaits the interrupts of `edu` and halts in between.
//!
//! An event of the shim counts what an interrupt handler saw, so that a future is no more than a
//! look at it. Whoever has an executor with wakers, as embassy's, wakes all tasks after each halt.
#![no_std]
#![no_main]

use core::future::{self, Future};
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use vfio_core::device::irq::Vectors;
use vfio_core::device::{Device, DeviceHandle};
use vfio_core::mmio::field::{ReadPureWrite, WriteOnly};
use vfio_core::mmio::{Access, Block};
use vfio_core::open::{Mode, Session};
use vfio_core::registers;
use vfio_core::sys::{Errno, NoIommu};
use vfio_core::wire::abi::{pci_irq, pci_region};
use vfio_unikernel::GuestPci;
use vfio_unikernel::boot::Boot;
use x86_64::instructions::interrupts;

vfio_unikernel::entry!(main);

registers! {
    /// Of `edu` (QEMU, docs/specs/edu.rst), in BAR 0.
    struct Edu: 0x68 {
        0x08 factorial: ReadPureWrite<u32>,
        0x20 status: ReadPureWrite<u32>,
        0x64 interrupt_acknowledge: WriteOnly<u32>,
    }
}

/// Waits until the interrupt occurs.
async fn interrupt<D: DeviceHandle>(vectors: &Vectors<D, 1>) -> Result<(), Errno> {
    future::poll_fn(|_| match vectors.take(0) {
        Ok(0) => Poll::Pending,
        taken => Poll::Ready(taken.map(drop)),
    })
    .await
}

/// Runs a task to its end. Returns what it returns, and how often the processor was halted.
fn block_on<F: Future>(task: F) -> (F::Output, u32) {
    let mut task = pin!(task);
    let mut context = Context::from_waker(Waker::noop());
    let mut halts = 0_u32;
    loop {
        // An interrupt between the look at its event and the halt would be slept through.
        interrupts::disable();
        if let Poll::Ready(output) = task.as_mut().poll(&mut context) {
            interrupts::enable();
            return (output, halts);
        }
        halts = halts.saturating_add(1);
        interrupts::enable_and_hlt();
    }
}

/// Multiplies factorials that the device computes, each of which it tells by an interrupt.
async fn product<A: Access, D: DeviceHandle>(
    mut edu: Block<A, Edu>,
    vectors: &Vectors<D, 1>,
) -> Result<u32, Errno> {
    let (mut product, failed) = (1_u32, |_| Errno::EIO);
    // It interrupts when a factorial is there.
    edu.write(Edu::status, 1 << 7).map_err(failed)?;
    for n in 2..=5 {
        edu.write(Edu::factorial, n).map_err(failed)?;
        interrupt(vectors).await?;
        edu.write(Edu::interrupt_acknowledge, 1).map_err(failed)?;
        product = product.wrapping_mul(edu.get(Edu::factorial).map_err(failed)?);
    }
    Ok(product)
}

/// Opens the first `edu`.
fn open(boot: &Boot) -> Option<Device<GuestPci>> {
    // SAFETY: the device is told no address of memory.
    let machine = GuestPci::new(unsafe { NoIommu::acknowledge() });
    machine.discover(boot).ok()?;
    let (group, _) = machine.find(0x1234, 0x11e8)?;
    let mut name = [0; 13];
    let place = machine.place(group, &mut name)?;
    let session = Session::open_in(Mode::NoIommu, &machine, &place).ok()?;
    Some(session.device)
}

fn main(boot: &Boot) -> Result<(), Errno> {
    let device = open(boot).ok_or(Errno::ENODEV)?;
    let bar0 = device.bring_up(pci_region::BAR0).map_err(|_| Errno::EIO)?;
    let edu = bar0.into_block(0).map_err(|_| Errno::EIO)?;
    let vectors = device.vectors(pci_irq::MSI).map_err(|_| Errno::EIO)?;
    let (product, halts) = block_on(product(edu, &vectors));
    defmt::info!("4 factorials, {} halts", halts);
    // 2! * 3! * 4! * 5!
    (product? == 34_560).then_some(()).ok_or(Errno::EPROTO)
}

//! How fast the time stamp counter counts: as the processor or the hypervisor says, or measured
//! against a counter whose speed is known.
//!
//! Intel SDM, volume 2, `CPUID`, leaves 15h and 16h; the leaf 40000010h of VMware, which KVM and
//! Cloud Hypervisor have as well; and KVM's paravirtual clock (Linux 6.12,
//! Documentation/virt/kvm/x86/cpuid.rst and msr.rst).

/// What CPUID answers: the registers `eax`, `ebx`, `ecx` and `edx`.
pub type Leaf = [u32; 4];

/// Why counters can't be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum MeasureError {
    /// The counter stands still, or is not there.
    Stopped,
    /// The processor was held back in every measurement, or no two of them agree.
    Unsteady,
}

/// The first leaf of a hypervisor; that of KVM where it passes for another one.
const HYPERVISOR: u32 = 0x4000_0000;
const HYPERVISOR_SECOND: u32 = 0x4000_0100;
/// In `ecx` of leaf 1: there is a hypervisor.
const IS_GUEST: u32 = 1 << 31;
/// `KVMKVMKVM`.
const KVM: [u32; 3] = [0x4b4d_564b, 0x564b_4d56, 0x4d];
/// Of KVM's features, the clock; and the register that takes the clock's address.
const CLOCK: u32 = 1 << 3;
const SYSTEM_TIME: u32 = 0x4b56_4d01;

/// How often a counter is read in a measurement, and how often it is measured.
const PATIENCE: u32 = 1 << 16;
const ATTEMPTS: u32 = 256;
/// Between two readings no more than this part of a measurement may pass.
const GAP: u64 = 16;
/// Measurements agree that differ by no more than this part.
const APART: u64 = 128;
/// Bits behind the point of a measurement, a fixed-point number.
pub const FRACTION: u32 = 16;

/// Returns the frequency that CPUID tells, in kHz.
#[must_use]
pub fn told(cpuid: &dyn Fn(u32) -> Leaf) -> Option<u64> {
    // A leaf behind the last is answered as another one.
    let leaf = |first, number| {
        let [last, ..] = cpuid(first);
        if number <= last {
            cpuid(number)
        } else {
            [0; 4]
        }
    };
    let [denominator, numerator, crystal, _] = leaf(0, 0x15);
    let hertz = u64::from(crystal).saturating_mul(numerator.into());
    let mut khz = hertz.checked_div(u64::from(denominator).saturating_mul(1000));
    if khz == Some(0) && numerator != 0 {
        // Without the crystal's, the processor's base frequency in MHz is the counter's as well.
        let [base, ..] = leaf(0, 0x16);
        khz = Some(u64::from(base & 0xffff).saturating_mul(1000));
    }
    if khz.unwrap_or(0) == 0 && is_guest(cpuid) {
        let [timing, ..] = leaf(HYPERVISOR, HYPERVISOR | 0x10);
        khz = Some(timing.into());
    }
    khz.filter(|khz| *khz != 0)
}

fn is_guest(cpuid: &dyn Fn(u32) -> Leaf) -> bool {
    let [_, _, features, _] = cpuid(1);
    features & IS_GUEST != 0
}

/// Returns the model-specific register that takes the address of KVM's paravirtual clock.
#[must_use]
pub fn paravirtual(cpuid: &dyn Fn(u32) -> Leaf) -> Option<u32> {
    let bases = [HYPERVISOR, HYPERVISOR_SECOND];
    let has_clock = |base: u32| {
        let ([_, name @ ..], [features, ..]) = (cpuid(base), cpuid(base | 1));
        name == KVM && features & CLOCK != 0
    };
    (is_guest(cpuid) && bases.into_iter().any(has_clock)).then_some(SYSTEM_TIME)
}

/// Returns the frequency in kHz that a paravirtual clock tells: nanoseconds are stamps, shifted to
/// the left by `shift`, times `factor`, by 2^32.
#[must_use]
pub fn scaled(factor: u32, shift: i8) -> Option<u64> {
    let khz = (1_000_000_u64 << 32).checked_div(factor.into())?;
    let places = u32::from(shift.unsigned_abs());
    let khz = if shift < 0 {
        khz.wrapping_shl(places)
    } else {
        khz.wrapping_shr(places)
    };
    (places < 32 && khz != 0).then_some(khz)
}

/// Measures the time stamp counter (`stamp`) over `ticks` of another one. That counts up (`count`)
/// and has the bits of `mask`. The result is how often the first counts in a tick of the second,
/// times 2<sup>[`FRACTION`]</sup>.
///
/// A hypervisor may hold the processor back at any time, for longer than the other counter takes
/// to wrap around. What was held back is measured again, until two measurements agree.
///
/// # Errors
/// [`MeasureError`]
pub fn measure(
    ticks: u32,
    mask: u32,
    stamp: &dyn Fn() -> u64,
    count: &dyn Fn() -> u32,
) -> Result<u64, MeasureError> {
    let mut before = 0_u64;
    for _ in 0..ATTEMPTS {
        if let Some(now) = attempt(ticks, mask, stamp, count)? {
            if now.abs_diff(before) <= now / APART {
                return Ok(now);
            }
            before = now;
        }
    }
    Err(MeasureError::Unsteady)
}

/// Measures once; nothing where the processor was held back.
fn attempt(
    ticks: u32,
    mask: u32,
    stamp: &dyn Fn() -> u64,
    count: &dyn Fn() -> u32,
) -> Result<Option<u64>, MeasureError> {
    let before = stamp();
    let start = count();
    let first = stamp();
    let (mut last, mut longest) = (first, first.saturating_sub(before));
    for _ in 0..PATIENCE {
        let passed = count().wrapping_sub(start) & mask;
        let now = stamp();
        // Each reading of the counter lies in a gap: no error is larger than the longest.
        longest = longest.max(now.saturating_sub(last));
        last = now;
        if passed >= ticks {
            let stamps = now.saturating_sub(first);
            let rate = (stamps << FRACTION).checked_div(passed.into());
            let is_steady = longest.saturating_mul(GAP) <= stamps;
            return Ok(rate.filter(|rate| is_steady && *rate != 0));
        }
    }
    Err(MeasureError::Stopped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const GUEST: Leaf = [0, 0, IS_GUEST, 0];

    /// Returns a processor with these leaves. The others are answered as leaf 0.
    fn cpuid(leaves: &[(u32, Leaf)]) -> impl Fn(u32) -> Leaf {
        move |number| {
            let leaf = leaves.iter().find(|(leaf, _)| *leaf == number);
            leaf.map_or([leaves[0].1[0], 7, 7, 7], |(_, leaf)| *leaf)
        }
    }

    #[test]
    fn the_crystal_and_its_ratio_come_first() {
        let crystal = (0x15, [2, 216, 25_000_000, 0]);
        let base = (0x16, [2600, 0, 0, 0]);
        let timing = [(1, GUEST), (0x4000_0000, [0x4000_0010, 0, 0, 0])];
        let [guest, last] = timing;
        let hypervisor = (0x4000_0010, [1_000_000, 0, 0, 0]);
        let all = [(0, [0x16, 0, 0, 0]), crystal, base, guest, last, hypervisor];
        assert_eq!(told(&cpuid(&all)), Some(2_700_000));
        // Leaf 16h tells it where leaf 15h has the ratio alone, and only then.
        let ratio = [
            (0, [0x16, 0, 0, 0]),
            (0x15, [2, 216, 0, 0]),
            base,
            guest,
            last,
            hypervisor,
        ];
        assert_eq!(told(&cpuid(&ratio)), Some(2_600_000));
        let none = [
            (0, [0x16, 0, 0, 0]),
            (0x15, [0; 4]),
            base,
            guest,
            last,
            hypervisor,
        ];
        assert_eq!(told(&cpuid(&none)), Some(1_000_000));
        let no_base = [
            (0, [0x15, 0, 0, 0]),
            (0x15, [2, 216, 0, 0]),
            base,
            guest,
            last,
            hypervisor,
        ];
        assert_eq!(told(&cpuid(&no_base)), Some(1_000_000));
    }

    #[test]
    fn leaves_that_are_not_there_tell_nothing() {
        let old = [(0, [0xd, 0, 0, 0]), (1, [0; 4])];
        assert_eq!(told(&cpuid(&old)), None);
        // QEMU's software emulation: a hypervisor with one more leaf.
        let few = [
            (0, [0xd, 0, 0, 0]),
            (1, GUEST),
            (0x4000_0000, [0x4000_0001, 0, 0, 0]),
        ];
        assert_eq!(told(&cpuid(&few)), None);
        // No hypervisor has leaves, whatever is there.
        let bare = [
            (0, [0xd, 0, 0, 0]),
            (1, [0; 4]),
            (0x4000_0000, [0x4000_0010, 0, 0, 0]),
            (0x4000_0010, [1, 0, 0, 0]),
        ];
        assert_eq!(told(&cpuid(&bare)), None);
        assert_eq!(paravirtual(&cpuid(&bare)), None);
        // A ratio without a denominator, and numbers that overflow.
        let odd = [(0, [0x15, 0, 0, 0]), (0x15, [0, 1, 1, 0]), (1, [0; 4])];
        assert_eq!(told(&cpuid(&odd)), None);
        let huge = [(0, [0x15, 0, 0, 0]), (0x15, [u32::MAX; 4]), (1, [0; 4])];
        assert_eq!(told(&cpuid(&huge)), Some(4_294_967));
    }

    #[test]
    fn the_paravirtual_clock_is_found_behind_other_leaves() {
        let [b, c, d] = KVM;
        let kvm = |base, features| {
            [
                (0, [0xd, 0, 0, 0]),
                (1, GUEST),
                (base, [base | 1, b, c, d]),
                (base | 1, [features, 0, 0, 0]),
            ]
        };
        for (base, features, register) in [
            (0x4000_0000, 0b1001, Some(SYSTEM_TIME)),
            (0x4000_0100, 0b1000, Some(SYSTEM_TIME)),
            (0x4000_0100, 0b0111, None),
            (0x4000_0200, 0b1001, None),
        ] {
            assert_eq!(paravirtual(&cpuid(&kvm(base, features))), register);
        }
    }

    #[test]
    fn a_paravirtual_clock_is_scaled_back() {
        // 2.5 GHz: half a stamp is 0.2 ns; and 500 MHz: a stamp, doubled, is 2 ns.
        assert_eq!(scaled(3_435_973_837, -1), Some(2_499_998));
        assert_eq!(scaled(u32::MAX, 1), Some(500_000));
        assert_eq!(scaled(0, 0), None);
        assert_eq!(scaled(1, i8::MAX), None);
        assert_eq!(scaled(1, i8::MIN), None);
    }

    /// Measures time that passes as it is looked at, 1 us a reading, and that is held back for
    /// `hold` us after each `run` us.
    fn held_back(hold: u64, run: u64, mask: u32) -> Result<u64, MeasureError> {
        let (micros, ran) = (Cell::new(0_u64), Cell::new(0_u64));
        let look = || {
            micros.set(micros.get() + 1);
            ran.set(ran.get() + 1);
            if run != 0 && ran.get().is_multiple_of(run) {
                micros.set(micros.get() + hold);
            }
            micros.get()
        };
        // The time stamp counter at 2 GHz, the other one at 1 MHz.
        let count = || u32::try_from(look() & 0xffff_ffff).unwrap() & mask;
        measure(1000, mask, &|| 2000 * look(), &count)
    }

    #[test]
    fn a_processor_that_is_held_back_does_not_count_faster() {
        // Longer than the other counter takes to wrap around, and shorter.
        for (hold, run) in [
            (0, 0),
            (60_000, 3000),
            (70_000, 3500),
            (400, 2500),
            (131_072, 4000),
        ] {
            let rate = held_back(hold, run, 0xffff).unwrap() >> FRACTION;
            assert!(
                (1980..=2020).contains(&rate),
                "{rate} for {hold} after {run}"
            );
        }
        // So often that nothing can be told.
        assert_eq!(held_back(60_000, 500, 0xffff), Err(MeasureError::Unsteady));
    }

    #[test]
    fn a_counter_that_stands_still_is_told() {
        let time = Cell::new(0);
        let stamp = || {
            time.set(time.get() + 1);
            time.get()
        };
        let stopped = Err(MeasureError::Stopped);
        assert_eq!(measure(1000, 0xffff, &stamp, &|| 0xffff), stopped);
        // As one of the time stamps: no two of them differ.
        assert_eq!(
            measure(1, u32::MAX, &|| 7, &|| u32::try_from(stamp()).unwrap()),
            Err(MeasureError::Unsteady)
        );
    }
}

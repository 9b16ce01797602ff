//! Times, for orientation: a median over many runs, less what the clock itself takes.

use std::time::Instant;

/// How many runs there are.
const RUNS: usize = 20_000;

/// Returns the median of the nanoseconds that `run` takes. `after` cleans up, and is not timed.
pub(crate) fn median<T>(subject: &mut T, run: impl Fn(&mut T), after: impl Fn(&mut T)) -> f64 {
    let clock = sampled(&mut (), |()| (), |()| ());
    (sampled(subject, run, after) - clock).max(0.0)
}

fn sampled<T>(subject: &mut T, run: impl Fn(&mut T), after: impl Fn(&mut T)) -> f64 {
    let mut samples: Vec<u128> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            run(subject);
            let elapsed = start.elapsed().as_nanos();
            after(subject);
            elapsed
        })
        .collect();
    samples.sort_unstable();
    samples.get(RUNS / 2).map_or(0.0, |median| *median as f64)
}

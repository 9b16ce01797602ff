//! How long reads took, as SVG: how many of each time, both over logarithmic axes, so that the few slow ones are seen.

use hdrhistogram::Histogram;
use svg::Document;
use svg::node::element::{Line, Rectangle, Text, Title};

use super::bench::Record;

/// All lengths are in pixels.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 96.0;
const RIGHT: f64 = 32.0;
const TOP: f64 = 148.0;
const BOTTOM: f64 = 72.0;
const FLOOR: f64 = HEIGHT - BOTTOM;
/// From the label of a percentile to that of the next, and where the first is.
const ROW: f64 = 18.0;
const FIRST_ROW: f64 = 88.0;
/// The width that a label of a percentile takes at most.
const LABEL: f64 = 150.0;
/// Bars for each doubling of the time.
const BARS: f64 = 8.0;

/// The percentiles that are marked.
const MARKED: [f64; 3] = [50.0, 99.0, 99.9];

const SANS: &str = "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif";
const INK: &str = "#1f2933";
const FAINT: &str = "#616e7c";
const GRID: &str = "#e4e7eb";
const BAR: &str = "#8fd3b6";
const MARK: &str = "#c2410c";
const PAPER: &str = "#ffffff";

/// Draws the times of reads, which are in nanoseconds.
pub(super) fn svg(record: &Record, times: &Histogram<u64>) -> String {
    let axis = Axis::new(times);
    let counts = axis.counts(times);
    let scale = Scale::new(&counts);
    let title = format!(
        "{}: {} reads a second of {} bytes, {} at a time",
        record.device,
        grouped(record.iops.round() as u64),
        grouped(record.size.into()),
        record.depth
    );
    let subtitle = "How many reads took how long; both axes are logarithmic";
    let mut document = Document::new()
        .set("viewBox", (0, 0, WIDTH, HEIGHT))
        .set("width", WIDTH)
        .set("height", HEIGHT)
        .add(Title::new(title.clone()))
        .add(rectangle(0.0, 0.0, WIDTH, HEIGHT).set("fill", PAPER))
        .add(text(&title, LEFT, 36.0, 20.0).set("font-weight", "bold"))
        .add(text(subtitle, LEFT, 58.0, 13.0).set("fill", FAINT));
    for count in scale.ticks() {
        let at = scale.of(count);
        document = document
            .add(line(LEFT, at, WIDTH - RIGHT, at, GRID))
            .add(text(&grouped(count), LEFT - 8.0, at + 4.0, 12.0).set("text-anchor", "end"));
    }
    for (index, count) in (0_u32..).zip(&counts) {
        if *count == 0 {
            continue;
        }
        let top = scale.of(*count);
        let left = axis.of_bar(f64::from(index));
        let width = axis.of_bar(f64::from(index) + 1.0) - left;
        let bar = rectangle(left, top, (width - 1.0).max(0.5), FLOOR - top)
            .set("fill", BAR)
            .add(Title::new(format!("{} reads", grouped(*count))));
        document = document.add(bar);
    }
    for (micros, label) in axis.ticks() {
        let at = axis.of(micros * 1000.0);
        document = document
            .add(line(at, FLOOR, at, FLOOR + 6.0, INK))
            .add(text(&label, at, FLOOR + 22.0, 12.0).set("text-anchor", "middle"));
    }
    let percentiles = record.latency.percentiles.iter();
    let marked = percentiles.filter(|percentile| MARKED.contains(&percentile.percent));
    for (row, percentile) in (0_u32..).zip(marked) {
        // A later one is to the right, and begins below the labels of those before it.
        let base = FIRST_ROW + f64::from(row) * ROW;
        let at = axis.of(percentile.microseconds * 1000.0);
        let label = format!(
            "{} %: {:.1} µs",
            percentile.percent, percentile.microseconds
        );
        let is_wide = at + LABEL < WIDTH;
        let (left, anchor) = if is_wide {
            (at + 6.0, "start")
        } else {
            (at - 6.0, "end")
        };
        let label = text(&label, left, base, 12.0)
            .set("text-anchor", anchor)
            .set("fill", MARK)
            // A line of another one that it crosses is interrupted.
            .set("stroke", PAPER)
            .set("stroke-width", 5)
            .set("paint-order", "stroke");
        document = document
            .add(line(at, base - 10.0, at, FLOOR, MARK).set("stroke-dasharray", "4 3"))
            .add(label);
    }
    let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
    let high = f64::midpoint(TOP, FLOOR);
    document
        .add(line(LEFT, FLOOR, WIDTH - RIGHT, FLOOR, INK))
        .add(
            text("time of a read, µs", middle, FLOOR + 48.0, 13.0)
                .set("text-anchor", "middle")
                .set("fill", FAINT),
        )
        .add(
            text("reads", 24.0, high, 13.0)
                .set("text-anchor", "middle")
                .set("fill", FAINT)
                .set("transform", format!("rotate(-90 24 {high})")),
        )
        .to_string()
}

/// The axis of counts, from below 1 to a power of ten.
struct Scale {
    /// The base-10 logarithm of the count at the top.
    top: f64,
}

impl Scale {
    /// The base-10 logarithm of the count at the bottom: below that of one read, which is to be seen.
    const BOTTOM: f64 = -0.3;

    fn new(counts: &[u64]) -> Self {
        let most = counts.iter().copied().max().unwrap_or(1).max(1) as f64;
        Self {
            top: most.log10().ceil().max(1.0),
        }
    }

    /// Returns where a count, 1 or more, is.
    fn of(&self, count: u64) -> f64 {
        let part = ((count as f64).log10() - Self::BOTTOM) / (self.top - Self::BOTTOM);
        FLOOR - part * (FLOOR - TOP)
    }

    /// Returns round counts.
    fn ticks(&self) -> impl Iterator<Item = u64> {
        (0..=self.top as u32).map(|power| 10_u64.saturating_pow(power))
    }
}

/// The axis of times, from one power of two to another.
struct Axis {
    /// The base-2 logarithm of the least time.
    first: f64,
    /// How many doublings there are.
    span: f64,
}

impl Axis {
    fn new(times: &Histogram<u64>) -> Self {
        let log = |nanos: u64| (nanos.max(1) as f64).log2();
        let first = log(times.min()).floor();
        let last = log(times.max()).ceil().max(first + 1.0);
        Self {
            first,
            span: last - first,
        }
    }

    /// Returns where a time in nanoseconds is.
    fn of(&self, nanos: f64) -> f64 {
        let part = (nanos.max(1.0).log2() - self.first) / self.span;
        LEFT + part.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    /// Returns where the bar of a number begins.
    fn of_bar(&self, index: f64) -> f64 {
        self.of((self.first + index / BARS).exp2())
    }

    /// Returns how many times fall into each bar.
    fn counts(&self, times: &Histogram<u64>) -> Vec<u64> {
        let bars = (self.span * BARS) as usize;
        let mut counts = vec![0; bars.max(1)];
        for step in times.iter_recorded() {
            let nanos = step.value_iterated_to().max(1) as f64;
            let index = ((nanos.log2() - self.first) * BARS) as usize;
            let last = counts.len() - 1;
            if let Some(count) = counts.get_mut(index.min(last)) {
                *count += step.count_since_last_iteration();
            }
        }
        counts
    }

    /// Returns round times in microseconds, as they are written.
    fn ticks(&self) -> Vec<(f64, String)> {
        let (first, last) = (self.first.exp2(), (self.first + self.span).exp2());
        (-1..6)
            .flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)))
            .filter(|micros| (first..=last).contains(&(micros * 1000.0)))
            .map(|micros| (micros, written(micros)))
            .collect()
    }
}

/// Returns a time as its tick says it.
fn written(micros: f64) -> String {
    if micros < 1.0 {
        micros.to_string()
    } else {
        grouped(micros as u64)
    }
}

/// Returns a number with a comma before every three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .filter_map(|group| str::from_utf8(group).ok())
        .collect();
    groups.join(",")
}

fn rectangle(left: f64, top: f64, width: f64, height: f64) -> Rectangle {
    Rectangle::new()
        .set("x", left)
        .set("y", top)
        .set("width", width)
        .set("height", height)
}

fn line(x1: f64, y1: f64, x2: f64, y2: f64, stroke: &str) -> Line {
    Line::new()
        .set("x1", x1)
        .set("y1", y1)
        .set("x2", x2)
        .set("y2", y2)
        .set("stroke", stroke)
}

fn text(content: &str, left: f64, base: f64, size: f64) -> Text {
    Text::new(content)
        .set("x", left)
        .set("y", base)
        .set("font-size", size)
        .set("font-family", SANS)
        .set("fill", INK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_a_comma_before_every_three_digits() {
        let all = [0, 999, 1_000, 41_608, 1_234_567].map(grouped);
        assert_eq!(all, ["0", "999", "1,000", "41,608", "1,234,567"]);
    }

    #[test]
    fn one_read_is_seen_and_the_most_fit() {
        let scale = Scale::new(&[0, 1, 12_345]);
        assert!(scale.of(1) < FLOOR - 5.0);
        assert!(scale.of(12_345) > TOP);
        let ticks: Vec<u64> = scale.ticks().collect();
        assert_eq!(ticks, [1, 10, 100, 1_000, 10_000, 100_000]);
    }
}

//! How long reads took, as SVG: how many of each time, over a logarithmic axis.

use hdrhistogram::Histogram;
use svg::Document;
use svg::node::element::{Line, Rectangle, Text, Title};

use super::bench::Record;

/// All lengths are in pixels.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 96.0;
const BOTTOM: f64 = 64.0;
/// Bars for each doubling of the time.
const BARS: f64 = 8.0;

const SANS: &str = "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif";
const INK: &str = "#1f2933";
const FAINT: &str = "#616e7c";
const BAR: &str = "#8fd3b6";
const MARK: &str = "#c2410c";
const PAPER: &str = "#ffffff";

/// Draws the times of reads, which are in nanoseconds.
pub(super) fn svg(record: &Record, times: &Histogram<u64>) -> String {
    let axis = Axis::new(times);
    let counts = axis.counts(times);
    let most = counts.iter().copied().max().unwrap_or(1).max(1) as f64;
    let title = format!(
        "{}: {:.0} reads a second of {} bytes, {} at a time",
        record.device, record.iops, record.size, record.depth
    );
    let mut document = Document::new()
        .set("viewBox", (0, 0, WIDTH, HEIGHT))
        .set("width", WIDTH)
        .set("height", HEIGHT)
        .add(Title::new(title.clone()))
        .add(rectangle(0.0, 0.0, WIDTH, HEIGHT).set("fill", PAPER))
        .add(text(&title, LEFT, 40.0, 20.0).set("font-weight", "bold"))
        .add(
            text(
                "How long reads took, and how many took as long",
                LEFT,
                64.0,
                13.0,
            )
            .set("fill", FAINT),
        );
    let floor = HEIGHT - BOTTOM;
    for (index, count) in (0_u32..).zip(&counts) {
        let height = *count as f64 / most * (floor - TOP);
        let left = axis.of_bar(f64::from(index));
        let width = axis.of_bar(f64::from(index) + 1.0) - left;
        let bar = rectangle(left, floor - height, (width - 1.0).max(0.5), height)
            .set("fill", BAR)
            .add(Title::new(format!("{count} reads")));
        document = document.add(bar);
    }
    for (micros, label) in axis.ticks() {
        let at = axis.of(micros * 1000.0);
        document = document
            .add(line(at, floor, at, floor + 6.0, INK))
            .add(text(&label, at, floor + 22.0, 12.0).set("text-anchor", "middle"));
    }
    for percentile in &record.latency.percentiles {
        if ![50.0, 99.0, 99.9].contains(&percentile.percent) {
            continue;
        }
        let at = axis.of(percentile.microseconds * 1000.0);
        let label = format!(
            "{} %: {:.1} µs",
            percentile.percent, percentile.microseconds
        );
        let down = match percentile.percent {
            50.0 => 0.0,
            99.0 => 16.0,
            _ => 32.0,
        };
        document = document
            .add(line(at, TOP, at, floor, MARK).set("stroke-dasharray", "4 3"))
            .add(text(&label, at + 6.0, TOP + 12.0 + down, 12.0).set("fill", MARK));
    }
    document
        .add(line(LEFT, floor, WIDTH - RIGHT, floor, INK))
        .add(text("µs", WIDTH - RIGHT, floor + 44.0, 12.0).set("text-anchor", "end"))
        .to_string()
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

    /// Where a time in nanoseconds is.
    fn of(&self, nanos: f64) -> f64 {
        let part = (nanos.max(1.0).log2() - self.first) / self.span;
        LEFT + part.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    /// Where the bar of a number begins.
    fn of_bar(&self, index: f64) -> f64 {
        self.of((self.first + index / BARS).exp2())
    }

    /// How many times fall into each bar.
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

    /// Round times in microseconds, as they are written.
    fn ticks(&self) -> Vec<(f64, String)> {
        let (first, last) = (self.first.exp2(), (self.first + self.span).exp2());
        (-1..6)
            .flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)))
            .filter(|micros| (first..=last).contains(&(micros * 1000.0)))
            .map(|micros| (micros, micros.to_string()))
            .collect()
    }
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

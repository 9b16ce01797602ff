//! Images without an operating system: how large they are, and how soon they read a register.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use object::{Object as _, ObjectSymbol as _};
use serde_json::{Value, json};
use vfio_freestanding::checks;

use super::{Goal, goal, new_table, number};
use crate::guest::initramfs::{self, Root};
use crate::guest::kernel::{self, Choice};
use crate::guest::qemu::Qemu;
use crate::paths;
use crate::proofs;
use crate::tools::run;
use crate::unikernel::{Image, Machine, Model, Running, SIZES};

/// The plugin that counts, built by the system's C compiler.
const COUNTER: &str = include_str!("counter.c");

/// How many instructions an image may take from its entry to the first read of a register, on q35.
const MAX_TO_READ: u64 = 30_000;

/// How many bytes of stack an image may use.
const MAX_STACK: u64 = 8 << 10;

/// How often the time of an image is taken; the median counts.
const ROUNDS: usize = 11;

/// How much longer than the smallest image the one that reads a register may take, and how much faster than Linux it should
/// be.
const MOST_OF_HELLO: f64 = 1.1;
const LEAST_OF_LINUX: f64 = 15.0;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Measures the images, and prints what they take.
///
/// # Errors
///
/// An image can't be built or run.
pub(super) fn measure(goals: &mut Vec<Goal>) -> Result<Value> {
    let qemu = Qemu::installed()?;
    println!("\nImages without an operating system");
    let mut sizes = Vec::new();
    for (name, most) in SIZES {
        let size = Image::build(name)?.size()?;
        goals.push(goal(&format!("image {name}, bytes"), size, most));
        sizes.push(json!({"name": name, "bytes": size}));
    }
    let edu = Image::build("edu")?;
    let plugin = build_counter()?;
    let mut counts = Vec::new();
    let mut table = new_table([
        "edu, in instructions",
        "entry to the first read",
        "entry to the end",
        "bytes of stack",
    ]);
    for model in [Model::Q35, Model::Microvm] {
        let count = count(&qemu, &edu, model, &plugin)?;
        let name = format!("{model:?}").to_lowercase();
        table.add_row([
            name.clone(),
            count["to_read"].to_string(),
            count["to_end"].to_string(),
            count["stack"].to_string(),
        ]);
        let stack = number(&count["stack"]);
        goals.push(goal(
            &format!("image edu on {name}, bytes of stack"),
            stack,
            MAX_STACK,
        ));
        if model == Model::Q35 {
            let to_read = number(&count["to_read"]);
            goals.push(goal(
                "image edu on q35, instructions to the first read",
                to_read,
                MAX_TO_READ,
            ));
        }
        counts.push(json!({"machine": name, "counts": count}));
    }
    println!("{table}");
    Ok(json!({"sizes": sizes, "counts": counts, "times": times(&qemu)?}))
}

/// Measures from QEMU's start to the first byte of the smallest image, to the first read of a register, and to the same read
/// by Linux.
fn times(qemu: &Qemu) -> Result<Value> {
    let machine = Machine::new(Model::Q35, &["edu"]);
    let (hello, first) = (Image::build("hello")?, Image::build("first-read")?);
    let (mut of_hello, mut of_first) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        of_hello.push(until(machine.command(qemu, &hello), &[])?);
        of_first.push(until(machine.command(qemu, &first), &[])?);
    }
    let (hello, first) = (median(&mut of_hello), median(&mut of_first));
    let linux = linux(qemu)?;
    let mut table = new_table([
        "from QEMU's start, on q35",
        "ms",
        "against the read",
        "target",
    ]);
    let ratio = first / hello;
    let verdict = |is_met| if is_met { "met" } else { "missed" };
    table.add_row([
        "the smallest image's first byte".into(),
        format!("{hello:.0}"),
        format!("{ratio:.2}"),
        format!("{MOST_OF_HELLO:.2}, {}", verdict(ratio <= MOST_OF_HELLO)),
    ]);
    table.add_row([
        "the first read of a register".into(),
        format!("{first:.0}"),
        String::new(),
        String::new(),
    ]);
    let faster = linux.map(|linux| linux / first);
    if let (Some(linux), Some(faster)) = (linux, faster) {
        table.add_row([
            "the same read by Linux".into(),
            format!("{linux:.0}"),
            format!("{faster:.1}"),
            format!("{LEAST_OF_LINUX:.1}, {}", verdict(faster >= LEAST_OF_LINUX)),
        ]);
    }
    println!("{table}");
    Ok(json!({"hello": hello, "first_read": first, "linux": linux}))
}

/// Returns the same read by Linux: from QEMU's start to the line in which an init without libc reports it. None without a
/// kernel.
fn linux(qemu: &Qemu) -> Result<Option<f64>> {
    let choice = Choice::Given;
    if let Some(reason) = choice.missing() {
        println!("Linux is not measured: {reason}");
        return Ok(None);
    }
    let kernel = kernel::obtain(&choice)?;
    let directory = directory()?;
    let (initrd, init) = (directory.join("initramfs"), proofs::init()?);
    let root = Root {
        programs: vec![("init", &init)],
        files: vec![(checks::MODULES, Vec::new())],
        others: &[],
    };
    initramfs::write(&initrd, &root, &[])?;
    let name = format!("\"check\":\"{}\"", checks::Check::Registers.name());
    let mut all = Vec::new();
    for _ in 0..3 {
        let mut qemu = qemu.command();
        qemu.args([
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
            "-display",
            "none",
        ])
        .args([
            "-machine",
            "q35,accel=tcg,kernel-irqchip=split",
            "-cpu",
            "max",
            "-m",
            "256M",
        ])
        .args([
            "-device",
            "intel-iommu,intremap=on,caching-mode=on",
            "-device",
            "edu,addr=05.0",
        ])
        .args(["-serial", "null", "-serial", "stdio"])
        .args([
            "-append",
            "quiet panic=-1 no_timer_check intel_iommu=on iommu=nopt",
        ])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(&initrd);
        all.push(until(qemu, name.as_bytes())?);
    }
    Ok(Some(median(&mut all)))
}

/// Milliseconds from the start of `qemu` until it has written `text` to stdout; its first byte where that is empty.
fn until(mut qemu: Command, text: &[u8]) -> Result<f64> {
    qemu.stdin(Stdio::null()).stdout(Stdio::piped());
    let start = Instant::now();
    let mut running = Running(qemu.spawn().context("cannot start QEMU")?);
    let mut output = running.0.stdout.take().context("QEMU has no output")?;
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let len = output.read(&mut buffer)?;
        ensure!(len != 0, "QEMU ended before it was to be measured");
        seen.extend_from_slice(&buffer[..len]);
        if text.is_empty() || seen.windows(text.len()).any(|window| window == text) {
            return Ok(start.elapsed().as_secs_f64() * 1e3);
        }
        ensure!(start.elapsed() < LIMIT, "QEMU takes too long");
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Counts what the image executes on a machine.
fn count(qemu: &Qemu, image: &Image, model: Model, plugin: &Path) -> Result<Value> {
    let bytes = fs::read(&image.whole)?;
    let file = object::File::parse(bytes.as_slice())?;
    let symbol = |name: &str| {
        let symbol = file.symbols().find(|symbol| symbol.name() == Ok(name));
        symbol
            .map(|symbol| symbol.address())
            .with_context(|| format!("the image has no {name}"))
    };
    let (low, high) = (symbol("__stack_bottom")?, symbol("__stack_top")?);
    let mut qemu = Machine::new(model, &["edu"]).command(qemu, image);
    qemu.arg("-plugin").arg(format!(
        "{},device=edu-mmio,entry={:#x},low={low:#x},high={high:#x}",
        plugin.display(),
        file.entry()
    ));
    let output = qemu
        .stdin(Stdio::null())
        .output()
        .context("cannot start QEMU")?;
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find(|line| line.starts_with('{'));
    let count: Value = serde_json::from_str(line.context("the plugin counted nothing")?)?;
    ensure!(number(&count["to_read"]) != 0, "no register was read");
    Ok(count)
}

/// Builds the plugin.
fn build_counter() -> Result<PathBuf> {
    let directory = directory()?;
    let (source, plugin) = (directory.join("counter.c"), directory.join("counter.so"));
    fs::write(&source, COUNTER).with_context(|| format!("cannot write {}", source.display()))?;
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O2", "-o"]);
    run(compiler.arg(&plugin).arg(&source))?;
    // QEMU's options take no comma.
    ensure!(
        !plugin.to_string_lossy().contains(','),
        "a comma in the path of the plugin"
    );
    File::open(&plugin).context("there is no plugin")?;
    Ok(plugin)
}

fn directory() -> Result<PathBuf> {
    let directory = paths::target().join("unikernel/bench");
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    Ok(directory)
}

//! `vfio nvme` on the simulated controller.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::pipe::fcntl_getpipe_size;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use vfio_exercise::nvme::Step;

fn vfio(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vfio"))
        .args(["--root", "/nowhere"])
        .args(arguments)
        .output()
        .unwrap()
}

fn json(arguments: &[&str]) -> Value {
    let output = vfio(arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The exit status of what was interrupted.
const INTERRUPTED: i32 = 130;

fn started(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_vfio"))
        .args(["--root", "/nowhere"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until a process catches a signal, which it does before it touches the controller.
fn catches(child: &Child, signal: Signal) {
    let path = format!("/proc/{}/status", child.id());
    let end = Instant::now() + Duration::from_secs(60);
    let bit = 1 << (signal.as_raw() - 1);
    let is_caught = || {
        let status = fs::read_to_string(&path).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let mask = u64::from_str_radix(mask.unwrap().trim(), 16).unwrap();
        mask & bit != 0
    };
    while !is_caught() {
        assert!(Instant::now() < end, "it never catches {signal:?}");
        sleep(Duration::from_millis(5));
    }
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn the_whole_driver_passes_on_the_simulated_controller() {
    let record = json(&["run", "nvme", "--json"]);
    assert_eq!(record["passed"], true);
    let steps = record["steps"].as_array().unwrap();
    let names: Vec<_> = steps
        .iter()
        .map(|step| step["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, Step::ALL.map(Step::name));
}

#[test]
fn it_says_what_the_controller_is() {
    let record = json(&["nvme", "identify", "--json"]);
    assert_eq!(record["device"], "sim:nvme");
    assert_eq!(record["version"], "1.4");
    let namespaces = record["namespaces"].as_array().unwrap();
    let sizes: Vec<_> = namespaces
        .iter()
        .map(|namespace| namespace["block_size"].as_u64().unwrap())
        .collect();
    assert_eq!(sizes, [512, 4096]);
    let output = vfio(&["nvme", "identify"]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("Simulated NVMe Controller"), "{shown}");
}

#[test]
fn blocks_are_read_into_a_file_and_written_from_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("blocks");
    let record = json(&[
        "nvme",
        "read",
        "sim:nvme",
        text(&path),
        "--namespace",
        "2",
        "--lba",
        "0x10",
        "--json",
    ]);
    assert_eq!(record["blocks"], 4096 - 16);
    let read = fs::read(&path).unwrap();
    assert_eq!(read.len(), (4096 - 16) * 4096);
    assert!(read.iter().all(|byte| *byte == 0));
    // What lacks to a whole block is written as zeros.
    fs::write(&path, vec![7; 1000]).unwrap();
    let record = json(&["nvme", "write", "sim:nvme", text(&path), "--json"]);
    assert_eq!(
        (&record["blocks"], &record["bytes"]),
        (&2.into(), &1024.into())
    );
}

#[test]
fn what_can_not_be_is_an_error_that_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("blocks");
    fs::write(&path, vec![7; 1000]).unwrap();
    for (arguments, status, why) in [
        (
            &["nvme", "write", "sim:nvme", text(&path), "--lba", "32767"][..],
            1,
            "more than namespace 1 has",
        ),
        (
            &["nvme", "read", "sim:nvme", text(&path), "--blocks", "32769"],
            1,
            "more than namespace 1 has",
        ),
        (
            &["nvme", "read", "sim:nvme", text(&path), "--lba", "32768"],
            1,
            "there is no block 32768 in namespace 1 of sim:nvme, which has 32768 blocks",
        ),
        (
            &["nvme", "read", "sim:nvme", "-", "--lba", "999999999"],
            1,
            "which has 32768 blocks",
        ),
        (
            &["nvme", "read", "sim:nvme", text(&path), "--blocks", "0"],
            2,
            "no block at all",
        ),
        (
            &["nvme", "write", "sim:nvme", text(&path), "--lba", "32768"],
            1,
            "which has 32768 blocks",
        ),
        (
            &["nvme", "write", "sim:nvme", "/dev/null"],
            2,
            "/dev/null is empty",
        ),
        (&["nvme", "write", "sim:nvme", "/"], 2, "is a directory"),
        (
            &["nvme", "read", "sim:nvme", text(&path), "--namespace", "0"],
            1,
            "there is no namespace 0",
        ),
        (
            &["nvme", "read", "sim:nvme", text(&path), "--namespace", "3"],
            1,
            "there is no namespace 3",
        ),
        (
            &["nvme", "write", "sim:nvme", "/nowhere/at/all"],
            2,
            "/nowhere/at/all",
        ),
        (&["nvme", "identify", "sim:edu"], 1, "no NVM command set"),
        (&["nvme", "bench", "--size", "1000"], 1, "not whole blocks"),
        (&["nvme", "bench", "--depth", "5"], 2, "possible values"),
        (
            &["nvme", "bench", "--seconds", "0"],
            2,
            "more than 0 seconds",
        ),
    ] {
        let output = vfio(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
        assert!(said.contains(why), "{arguments:?}: {said}");
        assert!(!said.contains(".."), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        // What could not be done leaves the file as it was.
        assert_eq!(fs::read(&path).unwrap(), [7; 1000], "{arguments:?}");
    }
}

#[test]
fn a_file_that_was_not_there_is_not_left_empty() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("blocks");
    for arguments in [
        &[
            "nvme",
            "read",
            "sim:nvme",
            text(&path),
            "--lba",
            "999999999",
        ][..],
        &["nvme", "bench", "--size", "1000", "--svg", text(&path)],
        &[
            "map",
            "sim:edu",
            "--svg",
            text(&path),
            "--mode",
            "noiommu",
            "--json",
        ],
    ] {
        assert!(!vfio(arguments).status.success(), "{arguments:?}");
        assert!(!path.exists(), "{arguments:?}");
    }
}

/// Writes to a process until it takes no more.
fn feed(child: &mut Child, bytes: usize) {
    let mut stdin = child.stdin.take().unwrap();
    let _ = stdin.write_all(&vec![7; bytes]);
}

#[test]
fn a_pipe_is_written_as_it_comes_and_never_past_the_end() {
    // 9 MiB and a bit, which are two whole steps and the third.
    let mut child = started(&["nvme", "write", "sim:nvme", "-", "--json"]);
    feed(&mut child, (9 << 20) + 100);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let record: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(record["blocks"], (9 << 11) + 1);
    assert_eq!(record["complete"], true);

    // One byte more than fits: what came before is written, and is told.
    let mut child = started(&["nvme", "write", "sim:nvme", "-", "--lba", "8192", "--json"]);
    feed(&mut child, (12 << 20) + 1);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let record: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(record["blocks"], 24 << 10);
    assert_eq!(record["complete"], false);
    assert!(
        said.contains(
            "24576 blocks of namespace 1 of sim:nvme were written, the last of them 32767: \
             the input is longer than the 24576 blocks"
        ),
        "{said}"
    );

    // What comes at once and does not fit is not written at all.
    let mut child = started(&["nvme", "write", "sim:nvme", "-", "--lba", "32767"]);
    feed(&mut child, 513);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no block of namespace 1"), "{said}");
    assert!(output.stdout.is_empty());
}

#[test]
fn what_is_too_long_is_known_before_the_first_block() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sparse");
    let file = File::create(&path).unwrap();
    // A terabyte, which would take hours, and more memory than there is.
    file.set_len(1 << 40).unwrap();
    let name = vfio(&["nvme", "write", "sim:nvme", text(&path)]);
    let mut redirected = Command::new(env!("CARGO_BIN_EXE_vfio"));
    redirected.args(["nvme", "write", "sim:nvme", "-"]);
    let redirected = redirected.stdin(File::open(&path).unwrap()).output();
    for output in [name, redirected.unwrap()] {
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("2147483648 blocks from 0 on are more"),
            "{said}"
        );
    }
}

#[test]
fn an_interrupted_write_tells_the_last_block() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut child = started(&["nvme", "write", "sim:nvme", "-"]);
        let mut stdin = child.stdin.take().unwrap();
        // A whole step, and a part of the next that the pipe takes only once that is written; then nothing comes.
        stdin.write_all(&vec![7; (4 << 20) + (128 << 10)]).unwrap();
        catches(&child, signal);
        send(&child, signal);
        let output = child.wait_with_output().unwrap();
        drop(stdin);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(INTERRUPTED), "{said}");
        assert!(
            said.contains("8192 blocks") && said.contains("the last of them 8191: interrupted"),
            "{said}"
        );
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(told.starts_with("8192 blocks written"), "{told}");
    }
}

#[test]
fn an_interrupted_read_tells_the_last_block() {
    // Nobody reads: the pipe is full after a while.
    let mut child = started(&["nvme", "read", "sim:nvme", "-", "--json"]);
    catches(&child, Signal::INT);
    sleep(Duration::from_millis(500));
    send(&child, Signal::INT);
    let status = child.wait().unwrap();
    let mut read = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut read).unwrap();
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!(status.code(), Some(INTERRUPTED), "{said}");
    let blocks = read.len() / 512;
    assert!(said.contains(&format!("\"blocks\": {blocks},")), "{said}");
    assert!(
        said.contains("interrupted\"") && said.contains("--lba"),
        "{said}"
    );
}

#[test]
fn an_interrupted_measurement_has_its_figures_and_its_picture() {
    let directory = tempfile::tempdir().unwrap();
    let picture = directory.path().join("latency.svg");
    let arguments = [
        "nvme",
        "bench",
        "--seconds",
        "3600",
        "--json",
        "--svg",
        text(&picture),
    ];
    let child = started(&arguments);
    catches(&child, Signal::INT);
    // The file is there before anything is measured.
    assert!(picture.exists());
    sleep(Duration::from_millis(300));
    send(&child, Signal::INT);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(INTERRUPTED), "{output:?}");
    let record: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(record["reads"].as_u64().unwrap() > 0, "{record}");
    assert_eq!(record["complete"], false);
    assert!(record["seconds"].as_f64().unwrap() < 60.0, "{record}");
    assert!(fs::read_to_string(&picture).unwrap().starts_with("<svg"));
}

#[test]
fn the_second_interrupt_ends_at_once() {
    // A pipe that is full and that nobody reads: telling the figures would wait for ever.
    let (_reader, mut writer) = std::io::pipe().unwrap();
    let room = fcntl_getpipe_size(&writer).unwrap();
    writer.write_all(&vec![0; room]).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_vfio"))
        .args(["nvme", "bench", "--seconds", "3600"])
        .stdout(writer)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    catches(&child, Signal::INT);
    // These are one request, as `timeout` makes it.
    send(&child, Signal::TERM);
    send(&child, Signal::INT);
    sleep(Duration::from_millis(500));
    assert_eq!(child.try_wait().unwrap(), None);
    send(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(INTERRUPTED));
}

#[test]
fn an_interrupted_exercise_says_so() {
    let child = started(&["run", "nvme", "--json"]);
    catches(&child, Signal::INT);
    send(&child, Signal::INT);
    let output = child.wait_with_output().unwrap();
    let record: Value = serde_json::from_slice(&output.stdout).unwrap();
    let steps = record["steps"].as_array().unwrap();
    let passed = |name: &str| {
        steps
            .iter()
            .any(|step| step["name"] == name && step["passed"] == true)
    };
    assert!(passed("restore") && passed("shut_down"), "{record}");
    // It may have been done by then.
    let status = if record["passed"] == true {
        0
    } else {
        INTERRUPTED
    };
    assert_eq!(output.status.code(), Some(status), "{record}");
}

#[test]
fn figures_are_told_whatever_happens_to_the_picture() {
    let output = vfio(&[
        "nvme",
        "bench",
        "--seconds",
        "0.1",
        "--json",
        "--svg",
        "/dev/full",
    ]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let record: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(record["reads"].as_u64().unwrap() > 0);
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("/dev/full")
    );

    // What can't be opened is known before.
    let output = vfio(&[
        "nvme",
        "bench",
        "--seconds",
        "3600",
        "--svg",
        "/nowhere/latency.svg",
    ]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty());

    // The picture alone on standard output, the figures beside it.
    for json in [&[][..], &["--json"]] {
        let output = vfio(&[&["nvme", "bench", "--seconds", "0.1", "--svg", "-"], json].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let picture = String::from_utf8(output.stdout).unwrap();
        assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"));
        let figures = String::from_utf8(output.stderr).unwrap();
        assert!(
            figures.contains("IOPS") || figures.contains("\"iops\""),
            "{figures}"
        );
    }
}

#[test]
fn blocks_that_go_to_standard_output_are_all_that_goes_there() {
    let output = vfio(&["nvme", "read", "sim:nvme", "-", "--blocks", "9", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(output.stdout, [0; 9 * 512]);
    let record: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(record["blocks"], 9);
}

#[test]
fn reads_are_measured_and_drawn() {
    let directory = tempfile::tempdir().unwrap();
    let picture = directory.path().join("latency.svg");
    let record = json(&[
        "nvme",
        "bench",
        "--seconds",
        "0.2",
        "--depth",
        "8",
        "--json",
        "--svg",
        text(&picture),
    ]);
    let reads = record["reads"].as_u64().unwrap();
    assert!(reads >= 64, "{record}");
    assert!(record["iops"].as_f64().unwrap() > 0.0);
    let percentiles = record["latency"]["percentiles"].as_array().unwrap();
    let times: Vec<_> = percentiles
        .iter()
        .map(|entry| entry["microseconds"].as_f64().unwrap())
        .collect();
    assert!(times.is_sorted() && times[0] > 0.0, "{times:?}");
    let svg = fs::read_to_string(&picture).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    // Every read is in one of the bars.
    let drawn: u64 = svg
        .split("<title>")
        .filter_map(|part| {
            part.trim_start()
                .split(" reads")
                .next()?
                .replace(',', "")
                .parse::<u64>()
                .ok()
        })
        .sum();
    assert_eq!(drawn, reads);
}

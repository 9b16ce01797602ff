//! `vfio nvme` on the simulated controller.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use vfio_drivers::nvme::Step;

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
    }
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

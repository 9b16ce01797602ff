//! `vfio run` on simulated devices: every step is told, and the exit status says whether all passed.

use std::process::{Command, Output};

use serde_json::Value;
use vfio_core::open::Mode;
use vfio_exercise::edu::Step;

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vfio"))
        .args(["--root", "/nowhere", "run", "edu"])
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn the_whole_driver_passes_on_the_simulated_edu() {
    let output = run(&["--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let record: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(record["passed"], true);
    assert_eq!(record["device"], "sim:edu");
    let steps = record["steps"].as_array().unwrap();
    let names: Vec<_> = steps
        .iter()
        .map(|step| step["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, Step::ALL.map(Step::name));
    assert!(steps.iter().all(|step| step["passed"] == true), "{record}");
}

#[test]
fn every_mode_can_be_asked_for() {
    for mode in Mode::PREFERRED.map(Mode::name) {
        let output = run(&["--json", "--mode", mode]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let record: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(record["mode"], mode);
    }
    let unknown = run(&["--mode", "type2"]);
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
}

#[test]
fn another_device_fails_and_says_where() {
    let output = run(&["sim:igd"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("failed  identify: this is no edu"), "{text}");
}

#[test]
fn the_drivers_of_virtio_devices_pass_on_the_simulated_ones() {
    for driver in ["virtio-net", "virtio-blk"] {
        let output = Command::new(env!("CARGO_BIN_EXE_vfio"))
            .args(["--root", "/nowhere", "run", driver, "--json"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let record: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(record["driver"], driver);
        assert_eq!(record["device"], format!("sim:{driver}"));
        assert_eq!(record["passed"], true, "{record}");
    }
}

#[test]
fn a_driver_is_not_run_on_a_device_of_another_kind() {
    for (driver, device, said) in [
        ("virtio-net", "sim:edu", "is no virtio device"),
        ("virtio-net", "sim:virtio-blk", "virtio device of type 2"),
        ("virtio-blk", "sim:virtio-net", "virtio device of type 1"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_vfio"))
            .args(["--root", "/nowhere", "run", driver, device])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains(said), "{text}");
    }
}

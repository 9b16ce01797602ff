//! `vfio inspect` on simulated devices, and on systems that have none.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use vfio_hosted::model::Model;

fn vfio(root: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vfio"))
        .arg("--root")
        .arg(root)
        .args(arguments)
        .output()
        .unwrap()
}

fn inspect(device: &str) -> Value {
    let output = vfio(Path::new("/nowhere"), &["inspect", "--json", device]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Returns `(offset, size, mapped)` of the spans of a region.
fn spans(record: &Value, index: usize) -> Vec<(u64, u64, bool)> {
    record["regions"][index]["spans"]
        .as_array()
        .unwrap()
        .iter()
        .map(|span| {
            let number = |name: &str| span[name].as_u64().unwrap();
            (
                number("offset"),
                number("size"),
                span["mapped"].as_bool().unwrap(),
            )
        })
        .collect()
}

#[test]
fn every_model_is_inspected_without_trouble() {
    for name in Model::NAMES {
        let record = inspect(&format!("sim:{name}"));
        assert_eq!(record["simulated"], true, "{name}");
        assert_eq!(
            record["troubles"].as_array().map(Vec::len),
            Some(0),
            "{name}"
        );
        for (index, region) in record["regions"].as_array().unwrap().iter().enumerate() {
            let covered: u64 = spans(&record, index).iter().map(|(_, size, _)| size).sum();
            assert_eq!(
                region["size"], covered,
                "{name}, region {}",
                region["index"]
            );
        }
    }
}

#[test]
fn each_mode_tells_what_it_knows_of_the_iommu() {
    for (mode, has_iommu, has_ioas) in [
        ("type1", true, false),
        ("iommufd-type1v2", true, false),
        ("iommufd", false, true),
        ("noiommu", false, false),
    ] {
        let output = vfio(
            Path::new("/nowhere"),
            &["inspect", "--json", "--mode", mode, "sim:edu"],
        );
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let record: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(record["mode"], mode);
        assert_eq!(record["iommu"].is_object(), has_iommu, "{record}");
        let ranges = record["ioas"]["iova_ranges"].as_array();
        assert_eq!(ranges.is_some_and(|list| !list.is_empty()), has_ioas);
        assert_eq!(record["troubles"].as_array().map(Vec::len), Some(0));
    }
}

#[test]
fn regions_that_are_device_specific_say_what_they_are() {
    let record = inspect("sim:igd");
    let names: Vec<_> = record["regions"].as_array().unwrap()[9..]
        .iter()
        .map(|region| {
            (
                region["index"].as_u64().unwrap(),
                region["name"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = [
        (9, "INTEL_IGD_OPREGION"),
        (10, "INTEL_IGD_HOST_CFG"),
        (11, "INTEL_IGD_LPC_CFG"),
    ];
    assert_eq!(names, expected);
}

#[test]
fn what_is_cut_out_of_a_bar_is_trapped() {
    let sparse = spans(&inspect("sim:sparse"), 2);
    assert_eq!(sparse.len(), 11);
    assert_eq!(sparse[0], (0, 0x1000, false));
    assert_eq!(sparse[1], (0x1000, 0x1000, true));
    assert_eq!(sparse[10], (0xa000, 0x6000, false));
    let legacy = spans(&inspect("sim:legacy-msix"), 0);
    assert_eq!(
        legacy,
        [
            (0, 0x2000, true),
            (0x2000, 0x1000, false),
            (0x3000, 0x1000, true)
        ]
    );
    assert_eq!(spans(&inspect("sim:msix"), 0), [(0, 0x4000, true)]);
}

#[test]
fn without_a_device_the_simulated_edu_is_shown_and_said_so() {
    let empty = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(empty.path().join("sys/bus/pci/devices")).unwrap();
    let output = vfio(empty.path(), &["inspect"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("No device is bound to vfio-pci: this is the simulated edu."),
        "{text}"
    );
    assert!(text.contains("0x0-0xfffff mapped"), "{text}");
    assert!(!text.contains('\u{1b}'), "colours in a pipe");
}

#[test]
fn a_word_that_names_no_device_is_a_wrong_usage() {
    for word in ["sim:floppy", "eth0"] {
        let output = vfio(Path::new("/nowhere"), &["inspect", word]);
        assert_eq!(output.status.code(), Some(2));
        let sentence = String::from_utf8(output.stderr).unwrap();
        assert!(sentence.contains("sim:edu"), "{sentence}");
    }
}

#[test]
fn a_device_that_is_not_there_ends_with_a_way_out() {
    let empty = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(empty.path().join("sys/bus/pci/devices")).unwrap();
    let output = vfio(empty.path(), &["inspect", "00:1f.0"]);
    assert_eq!(output.status.code(), Some(1));
    let sentence = String::from_utf8(output.stderr).unwrap();
    assert!(
        sentence.contains("0000:00:1f.0") && sentence.contains("`vfio list`"),
        "{sentence}"
    );
}

//! `vfio map` on simulated devices.

use std::process::{Command, Output};

use serde_json::{Value, json};
use vfio_hosted::model::Model;

fn map(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vfio"))
        .arg("map")
        .args(arguments)
        .output()
        .unwrap()
}

fn printed(arguments: &[&str]) -> String {
    let output = map(arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn mapped_trapped_and_msix_are_told_apart_without_colours() {
    let text = printed(&["sim:legacy-msix"]);
    let stretches: Vec<_> = text.lines().skip(5).map(str::trim).collect();
    assert_eq!(
        stretches,
        [
            "█ 0x0-0x1fff                  8 KiB  mapped",
            "▚ 0x2000-0x240f              1040 B  trapped, MSI-X table",
            "░ 0x2410-0x2fff              3056 B  trapped",
            "▞ 0x3000-0x300f                16 B  mapped, pending bits",
            "█ 0x3010-0x3fff              4080 B  mapped",
        ]
    );
    let bar = text.lines().nth(4).unwrap().trim();
    for block in ['█', '▚', '░', '▞'] {
        assert!(bar.contains(block), "{bar}");
    }
    assert_eq!(bar.chars().count(), 78, "{bar}");
}

#[test]
fn the_picture_is_svg_with_every_part_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bars.svg");
    assert_eq!(
        printed(&["sim:legacy-msix", "--svg", path.to_str().unwrap()]),
        ""
    );
    let picture = std::fs::read_to_string(path).unwrap();
    assert_eq!(printed(&["sim:legacy-msix", "--svg", "-"]).trim(), picture);
    assert!(picture.starts_with("<svg"), "{picture}");
    for part in [
        "0x0-0x1fff: mapped<",
        "0x2000-0x240f: trapped, MSI-X table<",
        "0x2410-0x2fff: trapped<",
        "0x3000-0x300f: mapped, pending bits<",
        "0x4000",
    ] {
        assert!(picture.contains(part), "{part} is missing in {picture}");
    }
}

#[test]
fn every_model_can_be_drawn() {
    for name in Model::NAMES {
        let device = format!("sim:{name}");
        printed(&[&device]);
        let picture = printed(&[&device, "--svg", "-"]);
        // Each cell lies within the picture.
        for width in picture.split("width=\"").skip(1) {
            let width: f64 = width.split('"').next().unwrap().parse().unwrap();
            assert!(
                width.is_finite() && width > 0.0 && width <= 960.0,
                "{name}: {width}"
            );
        }
    }
}

#[test]
fn json_says_where_msix_lies() {
    let record: Value = serde_json::from_str(&printed(&["sim:msix", "--json"])).unwrap();
    assert_eq!(
        record["msix"],
        json!({
            "vectors": 65,
            "table": {"region": 0, "offset": 0x2000, "size": 65 * 16},
            "pending": {"region": 0, "offset": 0x3000, "size": 16},
        })
    );
    assert_eq!(record["regions"][0]["spans"][0]["mapped"], true);
    let record: Value = serde_json::from_str(&printed(&["sim:edu", "--json"])).unwrap();
    assert_eq!(record["msix"], Value::Null);
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    let output = map(&["sim:edu", "--svg", "/nowhere/bars.svg"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.starts_with("error: cannot write /nowhere/bars.svg"),
        "{text}"
    );
}

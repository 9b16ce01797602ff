//! `vfio decode` on captured, hostile and unusual replies: what other programs read of it.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use vfio_conformance::capability::{Capability, Content};
use vfio_conformance::fixture;
use vfio_conformance::hostile;
use vfio_conformance::outcome::{Kind, Outcome};

/// Runs the program with `reply` on its standard input.
fn decode(kind: Kind, options: &[&str], reply: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_vfio"))
        .args(["decode", "--kind", name(kind)])
        .args(options)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(reply).unwrap();
    child.wait_with_output().unwrap()
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Device => "device",
        Kind::Region => "region",
        Kind::Iommu => "iommu",
        Kind::Irq => "irq",
        Kind::HotReset => "hot-reset",
    }
}

fn parsed(output: &Output) -> Value {
    let mut value: Value = serde_json::from_slice(&output.stdout).unwrap();
    let schema = value
        .as_object_mut()
        .and_then(|object| object.remove("schema"));
    assert_eq!(schema, Some(json!(1)));
    value
}

/// Returns the fields of a capability that have fixed names.
fn fields(cap: &Capability) -> Value {
    let mut value = json!({
        "id": cap.id, "version": cap.version, "offset": cap.offset, "next": cap.next,
    });
    let contents = match &cap.content {
        Content::SparseMmap(areas) => {
            let areas: Vec<_> = areas
                .iter()
                .map(|area| json!({"offset": area.offset, "size": area.size}))
                .collect();
            json!({ "name": "SPARSE_MMAP", "areas": areas })
        }
        Content::Type(kind) => json!({
            "name": "TYPE",
            "type": kind.type_().0, "subtype": kind.subtype().0, "type_name": kind.name(),
        }),
        Content::MsixMappable => json!({ "name": "MSIX_MAPPABLE" }),
        Content::IovaRange(ranges) => {
            let ranges: Vec<_> = ranges
                .iter()
                .map(|range| json!({"start": range.start, "end": range.end}))
                .collect();
            json!({ "name": "IOVA_RANGE", "ranges": ranges })
        }
        Content::DmaAvail(avail) => json!({ "name": "DMA_AVAIL", "avail": avail }),
        Content::Migration {
            flags,
            pgsize_bitmap,
            max_dirty_bitmap_size,
        } => json!({
            "name": "MIGRATION",
            "flags": flags,
            "pgsize_bitmap": pgsize_bitmap,
            "max_dirty_bitmap_size": max_dirty_bitmap_size,
        }),
        Content::PciAtomicComp(flags) => {
            json!({ "name": "PCI_ATOMIC_COMP", "flags": flags.bits() })
        }
        Content::Unknown { raw, .. } => {
            let digits: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "name": "UNKNOWN", "raw": digits })
        }
        Content::Nvlink2Ssatgt(tgt) => json!({ "name": "NVLINK2_SSATGT", "tgt": tgt }),
        Content::Nvlink2Lnkspd(speed) => json!({ "name": "NVLINK2_LNKSPD", "link_speed": speed }),
        Content::ZpciBase(base) => json!({ "name": "ZPCI_BASE", "gid": base.gid }),
        Content::ZpciGroup(group) => json!({ "name": "ZPCI_GROUP", "noi": group.noi }),
        Content::ZpciUtil(_) => json!({ "name": "ZPCI_UTIL" }),
        Content::ZpciPfip(_) => json!({ "name": "ZPCI_PFIP" }),
    };
    let all = value.as_object_mut().unwrap();
    all.extend(contents.as_object().unwrap().clone());
    value
}

/// Tells whether `value` has all that `expected` has.
fn has(value: &Value, expected: &Value) -> bool {
    expected
        .as_object()
        .unwrap()
        .iter()
        .all(|(name, field)| value.get(name) == Some(field))
}

#[test]
fn every_hostile_reply_has_its_status() {
    let cases = hostile::cases();
    assert!(cases.len() > 100, "{} cases", cases.len());
    for case in cases {
        let output = decode(case.kind, &["--json"], &case.bytes);
        let status = output.status.code();
        let value = parsed(&output);
        let context = format!("{}, {}: {status:?} {value}", case.row, case.variant);
        match &case.expected {
            Outcome::Whole(caps) => {
                assert_eq!(status, Some(0), "{context}");
                assert!(
                    value["status"] == "complete" || value["status"] == "no_caps",
                    "{context}"
                );
                if Kind::CHAINS.contains(&case.kind) {
                    let seen = value["caps"].as_array().unwrap();
                    assert_eq!(seen.len(), caps.len(), "{context}");
                    assert!(
                        seen.iter().zip(caps).all(|(v, cap)| has(v, &fields(cap))),
                        "{context}"
                    );
                }
            }
            Outcome::TooSmall { needed } => {
                assert_eq!(status, Some(4), "{context}");
                assert_eq!(value["status"], "buffer_too_small", "{context}");
                assert_eq!(value["needed"], *needed, "{context}");
            }
            Outcome::Malformed(error) => {
                assert_eq!(status, Some(3), "{context}");
                let expected = json!({
                    "error": {
                        "kind": error.kind(),
                        "offset": error.offset(),
                        "message": error.to_string(),
                    }
                });
                assert_eq!(value, expected, "{context}");
                let sentence = String::from_utf8(output.stderr).unwrap();
                assert!(sentence.contains("malformed reply: "), "{sentence}");
            }
            Outcome::Errno(errno) => panic!("{context}: a reply has no {errno}"),
        }
    }
}

#[test]
fn every_captured_reply_is_decoded() {
    let mut decoded = 0;
    for fixture in fixture::index() {
        let Some(expected) = &fixture.expected else {
            continue;
        };
        let output = decode(fixture.kind(), &["--json"], &fixture.bytes());
        let value = parsed(&output);
        let (status, word) = match expected["caps_state"].as_str() {
            Some("need_more") => (4, "buffer_too_small"),
            Some("absent") => (0, "no_caps"),
            None if fixture.errno != 0 => (4, "buffer_too_small"),
            _ => (0, "complete"),
        };
        assert_eq!(
            output.status.code(),
            Some(status),
            "{}: {value}",
            fixture.file
        );
        assert_eq!(value["status"], word, "{}: {value}", fixture.file);
        assert_eq!(value["flags_raw"], expected["flags"], "{}", fixture.file);
        for name in [
            "argsz",
            "index",
            "size",
            "offset",
            "num_regions",
            "num_irqs",
            "iova_pgsizes",
            "count",
        ] {
            if let Some(field) = expected.get(name) {
                assert_eq!(value.get(name), Some(field), "{}: {name}", fixture.file);
            }
        }
        if let Some(offset) = expected.get("cap_offset") {
            assert_eq!(value.get("cap_offset"), Some(offset), "{}", fixture.file);
        }
        let caps = expected["caps"].as_array().map_or(0, Vec::len);
        assert_eq!(
            value["caps"].as_array().map_or(0, Vec::len),
            caps,
            "{}",
            fixture.file
        );
        decoded += 1;
    }
    assert_eq!(decoded, 345);
}

/// The reply for a region that may be mapped but for its MSI-X table.
const MSIX: &str = "28000000 0f000000 00000000 20000000 00400000 00000000 00000000 00000000
                    03000100 00000000";

#[test]
fn digits_are_a_reply_too() {
    let output = decode(Kind::Region, &["--hex"], MSIX.as_bytes());
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        parsed(&output),
        json!({
            "kind": "region", "argsz": 40, "flags": ["READ", "WRITE", "MMAP", "CAPS"],
            "flags_raw": 15, "status": "complete", "index": 0, "size": 0x4000, "offset": 0,
            "cap_offset": 32,
            "caps": [{
                "id": 3, "version": 1, "offset": 32, "next": 0, "name": "MSIX_MAPPABLE",
            }],
        })
    );
}

#[test]
fn what_is_no_reply_is_a_wrong_usage() {
    let refused = |output: Output, word: &str| {
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stdout.is_empty());
        let sentence = String::from_utf8(output.stderr).unwrap();
        assert!(sentence.contains(word), "{sentence}");
    };
    refused(
        decode(Kind::Region, &["--hex"], b"0x28"),
        "hexadecimal digits",
    );
    refused(decode(Kind::Region, &["--kind", "group"], b""), "");
    let missing = Command::new(env!("CARGO_BIN_EXE_vfio"))
        .args(["decode", "--kind", "irq", "no-such-file"])
        .output();
    refused(missing.unwrap(), "cannot read no-such-file");
}

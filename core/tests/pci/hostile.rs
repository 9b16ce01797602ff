//! Lists that are malformed, each in one way, and lists that only look so.

use vfio_core::pci::{
    Capability, ConfigError, ExtendedId, ListError, Msi, Msix, PastEnd, PciExpress,
    PowerManagement, SrIov, StandardId,
};

use crate::space::{Error, Space, extended_ids, standard_ids};

/// Returns the only error of a walk. It ends the walk.
fn error(list: &[Result<vfio_core::pci::Entry, Error>]) -> ListError {
    let (last, before) = list.split_last().unwrap();
    assert!(before.iter().all(Result::is_ok));
    match last {
        Err(ConfigError::List(error)) => *error,
        other => panic!("{other:?} is no error of the list"),
    }
}

#[test]
fn a_self_pointing_capability() {
    let space = Space::<256>::with_list(0x40).standard(0x40, StandardId::PM, 0x40);
    let list = space.list();
    assert_eq!(list.len(), 2);
    assert_eq!(
        error(&list),
        ListError::Loop {
            offset: 0x40,
            next: 0x40
        }
    );
}

#[test]
fn a_cycle_of_two() {
    let space = Space::<256>::with_list(0x40)
        .standard(0x40, StandardId::PM, 0x50)
        .standard(0x50, StandardId::MSI, 0x40);
    let list = space.list();
    assert_eq!(list.len(), 3);
    assert_eq!(
        error(&list),
        ListError::Loop {
            offset: 0x50,
            next: 0x40
        }
    );
}

#[test]
fn a_cycle_that_does_not_come_back_to_the_first() {
    let space = Space::<256>::with_list(0x40)
        .standard(0x40, StandardId::PM, 0x50)
        .standard(0x50, StandardId::MSI, 0xfc)
        .standard(0xfc, StandardId::NULL, 0x50);
    assert_eq!(
        error(&space.list()),
        ListError::Loop {
            offset: 0xfc,
            next: 0x50
        }
    );
}

#[test]
fn a_cycle_through_reserved_bits() {
    let space = Space::<256>::with_list(0x43).standard(0x40, StandardId::PM, 0x42);
    assert_eq!(
        error(&space.list()),
        ListError::Loop {
            offset: 0x40,
            next: 0x40
        }
    );
}

#[test]
fn a_pointer_into_the_header() {
    for pointer in [0x04, 0x10, 0x34, 0x3f] {
        let below = |offset| ListError::BelowList {
            offset,
            next: u16::from(pointer) & 0xfc,
        };
        let first = Space::<256>::with_list(pointer);
        assert_eq!(error(&first.list()), below(0x34));
        let later = Space::<256>::with_list(0x40).standard(0x40, StandardId::PM, pointer);
        assert_eq!(error(&later.list()), below(0x40));
    }
}

#[test]
fn a_pointer_out_of_the_space() {
    // What Linux shows of the space without privileges.
    let space = Space::<64>::with_list(0x40);
    let out = |offset, next, size| ListError::OutOfSpace { offset, next, size };
    assert_eq!(error(&space.list()), out(0x34, 0x40, 64));
    let space = Space::<128>::with_list(0x40).standard(0x40, StandardId::PM, 0x80);
    assert_eq!(error(&space.list()), out(0x40, 0x80, 128));
    // Half of the header is there.
    let space = Space::<130>::with_list(0x80);
    assert_eq!(error(&space.list()), out(0x34, 0x80, 130));
}

#[test]
fn a_header_of_all_ones() {
    let mut space = Space::<256>::with_list(0x40).standard(0x40, StandardId::PM, 0x50);
    space.put(0x50, &[0xff; 2]);
    assert_eq!(error(&space.list()), ListError::AllOnes { offset: 0x50 });
}

#[test]
fn a_device_that_is_gone() {
    let space = Space([0xff; 4096]);
    let unknown = ConfigError::UnknownLayout { layout: 0x7f };
    assert_eq!(space.list(), [Err(unknown)]);
    assert_eq!(space.config().bars(), Err(unknown));
    assert_eq!(space.extended_list(), []);
}

#[test]
fn nothing_is_found_in_a_malformed_list() {
    // What is asked for comes before the flaw, or is not there at all.
    let space = Space::<256>::with_list(0x40).standard(0x40, StandardId::PM, 0x40);
    let cycle = ConfigError::List(ListError::Loop {
        offset: 0x40,
        next: 0x40,
    });
    assert_eq!(space.config().find::<PowerManagement>(), Err(cycle));
    assert_eq!(space.config().find::<Msix>(), Err(cycle));
}

#[test]
fn an_extended_self_pointing_capability() {
    for next in [0x100, 0x103] {
        let space = Space::<4096>::new().extended(0x100, ExtendedId::ERR, next);
        let list = space.extended_list();
        assert_eq!(list.len(), 2);
        assert_eq!(
            error(&list),
            ListError::Loop {
                offset: 0x100,
                next: 0x100
            }
        );
    }
}

#[test]
fn an_extended_cycle_of_two() {
    let space = Space::<4096>::new()
        .extended(0x100, ExtendedId::ERR, 0xffc)
        .extended(0xffc, ExtendedId::NULL, 0x200)
        .extended(0x200, ExtendedId::DSN, 0xffc);
    let list = space.extended_list();
    assert_eq!(list.len(), 4);
    assert_eq!(
        error(&list),
        ListError::Loop {
            offset: 0x200,
            next: 0xffc
        }
    );
}

#[test]
fn an_extended_pointer_into_the_standard_space() {
    for next in [0x004, 0x040, 0x0fc] {
        let space = Space::<4096>::new().extended(0x100, ExtendedId::ERR, next);
        let below = ListError::BelowList {
            offset: 0x100,
            next,
        };
        assert_eq!(error(&space.extended_list()), below);
    }
}

#[test]
fn an_extended_pointer_out_of_the_space() {
    let space = Space::<1024>::new().extended(0x100, ExtendedId::ERR, 0x400);
    assert_eq!(
        error(&space.extended_list()),
        ListError::OutOfSpace {
            offset: 0x100,
            next: 0x400,
            size: 1024
        }
    );
}

#[test]
fn an_extended_header_of_all_ones() {
    let mut space = Space::<4096>::new().extended(0x100, ExtendedId::ERR, 0x200);
    space.put(0x200, &[0xff; 4]);
    let ones = ListError::AllOnes { offset: 0x200 };
    assert_eq!(error(&space.extended_list()), ones);
}

#[test]
fn capabilities_that_end_past_the_space() {
    fn truncated<C>(result: Result<Option<C>, Error>) -> u16 {
        match result {
            Err(ConfigError::Truncated { offset, .. }) => offset,
            _ => panic!("not truncated"),
        }
    }
    let at_the_end = |id| Space::<4096>::with_list(0xfc).standard(0xfc, id, 0);
    let msi = at_the_end(StandardId::MSI);
    let msix = at_the_end(StandardId::MSIX);
    let express = at_the_end(StandardId::EXP);
    let sriov = Space::<4096>::new()
        .extended(0x100, ExtendedId::NULL, 0xfd0)
        .extended(0xfd0, ExtendedId::SRIOV, 0);
    assert_eq!(truncated(msi.config().find::<Msi>()), 0xfc);
    assert_eq!(truncated(msix.config().find::<Msix>()), 0xfc);
    assert_eq!(truncated(express.config().find::<PciExpress>()), 0xfc);
    assert_eq!(truncated(sriov.config().find::<SrIov>()), 0xfd0);
    // The list itself is sound.
    assert_eq!(standard_ids(&msix.list()), [(0xfc, StandardId::MSIX)]);
}

#[test]
fn no_list_is_no_error() {
    // The status register says that there is none, whatever the pointer holds.
    let mut space = Space::<256>::new();
    space.put(0x34, &[0x10]);
    assert_eq!(space.list(), []);
    // There is one, and it is empty.
    assert_eq!(Space::<256>::with_list(0).list(), []);
    assert_eq!(Space::<256>::with_list(0x03).list(), []);
    assert_eq!(Space::<256>::new().config().find::<Msi>(), Ok(None));
    // No extended space, an empty one, and one behind a bridge that does not forward it.
    assert_eq!(Space::<256>::new().extended_list(), []);
    assert_eq!(Space::<4096>::new().extended_list(), []);
    let mut space = Space::<4096>::new();
    space.0[0x100..].fill(0xff);
    assert_eq!(space.extended_list(), []);
}

#[test]
fn the_longest_standard_list() {
    let mut space = Space::<256>::with_list(0x40);
    for offset in (0x40..0xfc).step_by(4) {
        space = space.standard(offset, StandardId::NULL, offset + 4);
    }
    let list = space.list();
    assert_eq!(list.len(), 48);
    assert!(list.iter().all(Result::is_ok));
}

#[test]
fn the_longest_extended_list_and_backwards() {
    let mut space = Space::<4096>::new().extended(0x100, ExtendedId::NULL, 0xffc);
    for offset in (0x104..0x1000).step_by(4) {
        let next = if offset == 0x104 { 0 } else { offset - 4 };
        space = space.extended(offset, ExtendedId::NULL, next);
    }
    let list = space.extended_list();
    assert_eq!(list.len(), 960);
    assert!(list.iter().all(Result::is_ok));
}

#[test]
fn a_hidden_first_extended_capability_anchors_the_list() {
    // VFIO clears id and version of a capability that it hides at 0x100, and keeps the pointer.
    let mut space = Space::<4096>::new().extended(0x200, ExtendedId::DSN, 0);
    space.put(0x100, &0x2000_0000_u32.to_le_bytes());
    assert_eq!(
        extended_ids(&space.extended_list()),
        [(0x100, ExtendedId::NULL, 0), (0x200, ExtendedId::DSN, 1)]
    );
}

#[test]
fn what_is_not_known_is_kept() {
    let space = Space::<4096>::with_list(0x40)
        .standard(0x40, StandardId(0x7b), 0)
        .extended(0x100, ExtendedId(0xabcd), 0);
    let config = space.config();
    let lists = config.capabilities().chain(config.extended_capabilities());
    let mut texts = Vec::new();
    for entry in lists {
        let entry = entry.unwrap();
        assert_eq!(entry.decode(&config), Ok(Capability::Other(entry)));
        texts.push(entry.id.to_string());
    }
    assert_eq!(texts, ["0x7b", "0xabcd"]);
}

#[test]
fn of_two_the_first_is_found() {
    let space = Space::<256>::with_list(0x80)
        .standard(0x80, StandardId::PM, 0x40)
        .standard(0x40, StandardId::PM, 0);
    let found = space.config().find::<PowerManagement>().unwrap().unwrap();
    assert_eq!(found.offset, 0x80);
}

#[test]
fn errors_say_where() {
    let space = Space::<256>::with_list(0x40).standard(0x40, StandardId::PM, 0x10);
    let error = space.config().find::<Msi>().unwrap_err();
    assert_eq!(error.offset(), 0x10);
    assert_eq!(
        error.to_string(),
        "offset 0x40 names a capability at 0x10, where none can be"
    );
    let error: ConfigError<PastEnd> = ConfigError::Truncated {
        id: vfio_core::pci::CapabilityId::Standard(StandardId::MSIX),
        offset: 0xf8,
        size: 0x100,
    };
    assert_eq!(
        error.to_string(),
        "the capability MSIX at offset 0xf8 ends past the config space of 0x100 bytes"
    );
}

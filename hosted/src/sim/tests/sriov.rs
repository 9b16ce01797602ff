//! Physical and virtual functions, and the token between them.

use vfio_core::device::Device;
use vfio_core::device::feature::{FeatureError, Support};
use vfio_core::open::container::{Container, OpenError};
use vfio_core::open::iommufd::{Ioas, IommufdError};
use vfio_core::open::{Mode, Place, Session, SessionError};
use vfio_core::wire::abi::FeatureId;

use std::format;
use std::string::String;

use super::*;
use crate::model;

const PHYSICAL: &std::ffi::CStr = c"0000:03:00.0";
const VIRTUAL: &std::ffi::CStr = c"0000:03:10.0";
const ONE: [u8; 16] = [0x11; 16];
const OTHER: [u8; 16] = [0xee; 16];

fn kernel() -> Kernel {
    Kernel::new()
        .with_device("0000:03:00.0", model::edu(), 3)
        .with_virtual_function("0000:03:10.0", model::edu(), 4, "0000:03:00.0")
}

/// Opens a device, with a token where there is one.
type Open<'k> = &'k dyn Fn(&std::ffi::CStr, Option<[u8; 16]>) -> Result<Device<Kernel>, Errno>;

/// Runs `test` with what opens the devices through their groups, and by themselves.
fn in_both_ways(test: impl Fn(Open<'_>)) {
    let kernel = self::kernel();
    let container = Container::open(kernel.clone()).unwrap();
    let groups = [3, 4].map(|group| container.attach(group).unwrap());
    container.set_iommu(Extension::TYPE1V2_IOMMU).unwrap();
    test(&|name, token| {
        let group = &groups[usize::from(name == VIRTUAL)];
        let opened = match token {
            Some(token) => group.device_with_token(name, token),
            None => group.device(name),
        };
        opened.map_err(|error| match error {
            OpenError::Device(errno) => errno,
            other => panic!("{other}"),
        })
    });

    let kernel = self::kernel();
    let ioas = Ioas::open(kernel.clone()).unwrap();
    test(&|name, token| {
        let path = kernel.device_path(name.to_str().unwrap()).unwrap();
        let opened = match token {
            Some(token) => ioas.bind_with_token(&path, token),
            None => ioas.bind(&path),
        };
        opened.map_err(|error| match error {
            IommufdError::Bind(errno) => errno,
            other => panic!("{other}"),
        })
    });
}

#[test]
fn a_virtual_function_is_opened_with_the_token_of_its_physical_one() {
    in_both_ways(|open| {
        let denied = |token| open(VIRTUAL, token).map(drop) == Err(Errno::EACCES);
        assert!(denied(None) && denied(Some(ONE)));
        let physical = open(PHYSICAL, Some(ONE)).unwrap();
        assert!(denied(None) && denied(Some(OTHER)));
        drop(open(VIRTUAL, Some(ONE)).unwrap());
        physical.set_vf_token(OTHER).unwrap();
        assert!(denied(Some(ONE)));
        drop(open(VIRTUAL, Some(OTHER)).unwrap());
        // It outlives the file that it was set through.
        drop(physical);
        assert!(denied(None) && denied(Some(ONE)));
        drop(open(VIRTUAL, Some(OTHER)).unwrap());
    });
}

#[test]
fn a_token_in_use_is_asked_of_the_physical_function() {
    in_both_ways(|open| {
        drop(open(PHYSICAL, Some(ONE)).unwrap());
        let used = open(VIRTUAL, Some(ONE)).unwrap();
        for token in [None, Some(OTHER)] {
            assert_eq!(open(PHYSICAL, token).map(drop), Err(Errno::EACCES));
        }
        drop(open(PHYSICAL, Some(ONE)).unwrap());
        drop(used);
        drop(open(PHYSICAL, None).unwrap());
        drop(open(PHYSICAL, Some(OTHER)).unwrap());
        assert_eq!(open(VIRTUAL, Some(ONE)).map(drop), Err(Errno::EACCES));
    });
}

#[test]
fn the_token_is_a_feature_of_the_physical_function_only() {
    in_both_ways(|open| {
        let token = FeatureId::PCI_VF_TOKEN;
        let physical = open(PHYSICAL, Some(ONE)).unwrap();
        let set = Support {
            get: false,
            set: true,
        };
        assert_eq!(physical.probe_feature(token), Ok(set));
        let function = open(VIRTUAL, Some(ONE)).unwrap();
        assert_eq!(function.probe_feature(token), Ok(Support::default()));
        let refused = function.set_vf_token(ONE);
        assert_eq!(refused, Err(FeatureError::Missing(token)));
    });
}

#[test]
fn a_device_without_sriov_takes_no_token() {
    let kernel = Kernel::new().with_device(NAME, model::edu(), GROUP);
    let ioas = Ioas::open(kernel.clone()).unwrap();
    let path = kernel.device_path(NAME).unwrap();
    let refused = ioas.bind_with_token(&path, ONE).map(drop);
    assert_eq!(refused, Err(IommufdError::Bind(Errno::EINVAL)));

    let container = Container::open(kernel.clone()).unwrap();
    let group = container.attach(GROUP).unwrap();
    container.set_iommu(Extension::TYPE1V2_IOMMU).unwrap();
    let refused = group.device_with_token(C_NAME, ONE).map(drop);
    assert_eq!(refused, Err(OpenError::Device(Errno::EINVAL)));
    let too_long = group.device_with_token(c"5f6b0d1e-0b3c-4c7a-9a51-000000000001", ONE);
    assert_eq!(too_long.map(drop), Err(OpenError::Device(Errno::EINVAL)));
}

#[test]
fn options_behind_an_address_are_read_as_vfio_pci_reads_them() {
    let uuid = "11111111-1111-1111-1111-111111111111";
    let kernel = self::kernel();
    let container = Container::open(kernel.clone()).unwrap();
    let group = container.attach(3).unwrap();
    container.set_iommu(Extension::TYPE1V2_IOMMU).unwrap();
    for (options, expected) in [
        (String::new(), Ok(())),
        (" ".into(), Ok(())),
        (format!("  vf_token={uuid} "), Ok(())),
        ("0".into(), Err(Errno::ENODEV)),
        (
            format!(" vf_token={uuid} vf_token={uuid}"),
            Err(Errno::EINVAL),
        ),
        (format!(" vf_token={uuid}1"), Err(Errno::EINVAL)),
        (" vf_token=1".into(), Err(Errno::EINVAL)),
        (
            format!(" vf_token={}", uuid.replace('-', "1")),
            Err(Errno::EINVAL),
        ),
        (
            format!(" vf_token={}", uuid.replace('1', "g")),
            Err(Errno::EINVAL),
        ),
        (" other".into(), Err(Errno::EINVAL)),
    ] {
        let name = std::ffi::CString::new(format!("0000:03:00.0{options}")).unwrap();
        let opened = group.device(&name).map(drop);
        assert_eq!(opened, expected.map_err(OpenError::Device), "{options}");
    }
}

#[test]
fn a_session_takes_the_token_in_every_mode() {
    for mode in Mode::PREFERRED {
        if mode == Mode::NoIommu {
            continue;
        }
        let kernel = self::kernel();
        let open = |name: &std::ffi::CStr, group, token| {
            let path = kernel.device_path(name.to_str().unwrap()).unwrap();
            let place = Place {
                name,
                group: Some(group),
                cdev: Some(&path),
                token,
                ..Default::default()
            };
            Session::open_in(mode, &kernel, &place)
        };
        let _physical = open(PHYSICAL, 3, Some(ONE)).unwrap();
        for token in [None, Some(OTHER)] {
            let refused = open(VIRTUAL, 4, token).unwrap_err();
            let is_refusal = matches!(
                refused,
                SessionError::Group(OpenError::Device(Errno::EACCES))
                    | SessionError::Iommufd(IommufdError::Bind(Errno::EACCES))
            );
            assert!(is_refusal, "{mode}: {refused}");
        }
        open(VIRTUAL, 4, Some(ONE)).unwrap();
    }
}

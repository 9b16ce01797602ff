//! Containers, groups and devices, opened and closed in every order.

use std::vec::Vec;

use vfio_core::sys::InfoRequest;
use vfio_core::wire::abi::{GroupFlags, GroupStatus};

use super::*;
use crate::model;

fn kernel() -> Kernel {
    Kernel::new().with_device(NAME, model::edu(), GROUP)
}

fn files(kernel: &Kernel) -> (Fd, Fd) {
    (
        kernel.open(CONTAINER_PATH).unwrap(),
        kernel.open(&Kernel::group_path(GROUP)).unwrap(),
    )
}

fn status(kernel: &Kernel, group: &Fd) -> GroupFlags {
    let mut reply = [0; size_of::<GroupStatus>()];
    kernel
        .ioctl_info(group, InfoRequest::GroupStatus, &mut reply)
        .unwrap();
    assert_eq!(reply[..4], 8_u32.to_ne_bytes());
    GroupFlags::from_bits_retain(u32::from_ne_bytes(reply[4..].try_into().unwrap()))
}

#[test]
fn a_container_tells_its_version_and_extensions() {
    let kernel = kernel();
    let (container, _) = files(&kernel);
    let version = kernel.ioctl_value(&container, ValueRequest::GetApiVersion, 0);
    assert_eq!(version, Ok(0));
    let has: Vec<_> = (0..12)
        .filter(|extension| {
            let has = kernel.ioctl_value(&container, ValueRequest::CheckExtension, *extension);
            has.unwrap() != 0
        })
        .collect();
    assert_eq!(has, [1, 3, 9, 10]);
}

#[test]
fn an_iommu_is_set_once_and_with_a_group() {
    let kernel = kernel();
    let (container, group) = files(&kernel);
    let set = |value| kernel.ioctl_value(&container, ValueRequest::SetIommu, value);
    let mut reply = [0; 256];
    let mut info = || kernel.ioctl_info(&container, InfoRequest::Iommu, &mut reply);
    assert_eq!(set(1), Err(Errno::EINVAL));
    assert_eq!(info(), Err(Errno::EINVAL));

    attach(&kernel, &group, &container).unwrap();
    assert_eq!(info(), Err(Errno::EINVAL));
    let none = ValueRequest::SetNoIommu(acknowledged());
    let none = kernel.ioctl_value(&container, none, 0);
    assert_eq!(none, Err(Errno::ENODEV));
    assert_eq!(set(9), Err(Errno::EINVAL));
    assert_eq!(set(3), Ok(0));
    assert_eq!(set(3), Err(Errno::EINVAL));
    assert_eq!(info(), Ok(()));

    // The last group takes the IOMMU with it.
    assert_eq!(detach(&kernel, &group), Ok(0));
    assert_eq!(info(), Err(Errno::EINVAL));
}

#[test]
fn a_group_is_open_once_and_in_one_container() {
    let kernel = kernel();
    let (container, group) = files(&kernel);
    let path = Kernel::group_path(GROUP);
    assert_eq!(kernel.open(&path).err(), Some(Errno::EBUSY));
    assert_eq!(status(&kernel, &group), GroupFlags::VIABLE);
    assert_eq!(detach(&kernel, &group), Err(Errno::EINVAL));
    assert_eq!(attach(&kernel, &group, &group), Err(Errno(77)));

    let second = kernel.open(CONTAINER_PATH).unwrap();
    attach(&kernel, &group, &container).unwrap();
    assert_eq!(attach(&kernel, &group, &second), Err(Errno::EINVAL));
    assert_eq!(
        status(&kernel, &group),
        GroupFlags::VIABLE | GroupFlags::CONTAINER_SET
    );
    assert_eq!(detach(&kernel, &group), Ok(0));
    assert_eq!(attach(&kernel, &group, &second), Ok(()));
    drop(group);
    assert!(kernel.open(&path).is_ok());
}

#[test]
fn a_group_of_another_driver_is_not_viable() {
    let kernel = kernel().with_foreign_driver(GROUP);
    let (container, group) = files(&kernel);
    assert_eq!(status(&kernel, &group), GroupFlags::empty());
    assert_eq!(attach(&kernel, &group, &container), Err(Errno::EPERM));
}

#[test]
fn a_device_needs_a_container_with_an_iommu() {
    let kernel = kernel();
    let (container, group) = files(&kernel);
    let open = |name| {
        kernel
            .ioctl_name(&group, NameRequest::GetDeviceFd, name)
            .err()
    };
    assert_eq!(open(C_NAME), Some(Errno::EINVAL));
    attach(&kernel, &group, &container).unwrap();
    assert_eq!(open(C_NAME), Some(Errno::EINVAL));
    set_iommu(&kernel, &container).unwrap();
    assert_eq!(open(c"0000:01:00.1"), Some(Errno::ENODEV));
    assert_eq!(open(C_NAME), None);
}

#[test]
fn an_open_device_keeps_its_group_and_container() {
    let Opened {
        kernel,
        container,
        group,
        device,
    } = open(model::edu());
    assert_eq!(detach(&kernel, &group), Err(Errno::EBUSY));
    let again = open_device(&kernel, &group).unwrap();
    drop(group);
    drop(container);
    let path = Kernel::group_path(GROUP);
    assert_eq!(kernel.open(&path).err(), Some(Errno::EBUSY));
    drop(device);
    assert_eq!(kernel.open(&path).err(), Some(Errno::EBUSY));
    assert_eq!(kernel.live_containers(), 1);
    let mut reply = [0; 24];
    kernel
        .ioctl_info(&again, InfoRequest::Device, &mut reply)
        .unwrap();
    drop(again);
    assert_eq!(kernel.live_containers(), 0);
    let group = kernel.open(&path).unwrap();
    assert_eq!(status(&kernel, &group), GroupFlags::VIABLE);
}

#[test]
fn nothing_stays_open_in_any_order_of_closing() {
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let Opened {
            kernel,
            container,
            group,
            device,
        } = open(model::edu());
        let mut files = [Some(container), Some(group), Some(device)];
        for (closed, next) in (1..).zip(order) {
            files[next] = None;
            assert_eq!(kernel.open_files(), 3 - closed);
        }
        assert_eq!(kernel.live_containers(), 0);
        assert_eq!(kernel.calls().close, 3);
        assert!(kernel.open(&Kernel::group_path(GROUP)).is_ok());
    }
}

#[test]
fn two_groups_share_a_container() {
    let kernel = Kernel::new()
        .with_device(NAME, model::edu(), GROUP)
        .with_device("0000:02:00.0", model::msix(), 4)
        .with_device("0000:02:00.1", model::msix(), 4);
    let (container, first) = files(&kernel);
    let second = kernel.open(c"/dev/vfio/4").unwrap();
    attach(&kernel, &first, &container).unwrap();
    set_iommu(&kernel, &container).unwrap();
    attach(&kernel, &second, &container).unwrap();
    drop(first);
    // A name is looked for in the group alone.
    assert_eq!(open_device(&kernel, &second).err(), Some(Errno::ENODEV));
    for name in [c"0000:02:00.0", c"0000:02:00.1"] {
        let device = kernel.ioctl_name(&second, NameRequest::GetDeviceFd, name);
        assert!(device.is_ok());
    }
}

#[test]
fn requests_of_other_files_are_refused() {
    let Opened {
        kernel,
        container,
        group,
        device,
    } = open(model::edu());
    let mut reply = [0; 64];
    let mut info = |fd, request| kernel.ioctl_info(fd, request, &mut reply);
    assert_eq!(info(&group, InfoRequest::Device), Err(Errno::ENOTTY));
    assert_eq!(info(&device, InfoRequest::GroupStatus), Err(Errno::ENOTTY));
    assert_eq!(info(&container, InfoRequest::Region), Err(Errno::ENOTTY));
    // The number is the device's as well, and means its hot reset.
    assert_eq!(info(&device, InfoRequest::Iommu), Err(Errno::ENODEV));
    let value = |fd| kernel.ioctl_value(fd, ValueRequest::GetApiVersion, 0);
    assert_eq!(value(&group), Err(Errno::ENOTTY));
    assert_eq!(value(&device), Err(Errno::ENOTTY));
    assert_eq!(detach(&kernel, &container), Err(Errno::ENOTTY));
    assert_eq!(attach(&kernel, &device, &container), Err(Errno::ENOTTY));
    assert_eq!(open_device(&kernel, &device).err(), Some(Errno::ENOTTY));
    assert_eq!(kernel.pread(&group, &mut [0], 0), Err(Errno::EINVAL));
    assert_eq!(kernel.pwrite(&container, &[0], 0), Err(Errno::EINVAL));
}

#[test]
fn only_paths_of_vfio_exist() {
    let kernel = kernel();
    for path in [
        c"",
        c"/dev/vfio",
        c"/dev/vfio/",
        c"/dev/vfio/4",
        c"/dev/vfio/03",
        c"/dev/vfio/+3",
        c"/dev/vfio/3/",
        c"/dev/null",
    ] {
        assert_eq!(kernel.open(path).err(), Some(Errno::ENOENT), "{path:?}");
    }
    assert_eq!(kernel.open_files(), 0);
}

#[test]
fn files_of_another_kernel_are_not_open_here() {
    let (here, there) = (kernel(), kernel());
    let (container, group) = files(&there);
    assert_eq!(set_iommu(&here, &container), Err(Errno::EBADF));
    let (_, ours) = files(&here);
    assert_eq!(attach(&here, &ours, &container), Err(Errno::EBADF));
    assert_eq!(attach(&there, &group, &container), Ok(()));
}

#[test]
fn threads_share_a_kernel() {
    let kernel = kernel();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let container = kernel.open(CONTAINER_PATH).unwrap();
                    match kernel.open(&Kernel::group_path(GROUP)) {
                        Ok(group) => {
                            attach(&kernel, &group, &container).unwrap();
                            set_iommu(&kernel, &container).unwrap();
                            assert!(open_device(&kernel, &group).is_ok());
                        }
                        Err(errno) => assert_eq!(errno, Errno::EBUSY),
                    }
                }
            });
        }
    });
    assert_eq!((kernel.open_files(), kernel.live_containers()), (0, 0));
    let calls = kernel.calls();
    assert_eq!(calls.open, 800);
    assert_eq!(
        calls.ioctl(),
        calls.ioctl_fd + calls.ioctl_value + calls.ioctl_name
    );
}

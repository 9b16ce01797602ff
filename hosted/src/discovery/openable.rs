//! Finding what stands in the way of opening a device.

use super::{Caller, NoIommuMode, Obstacle, SysfsDevice, SysfsGroup, System, nodes, sysfs};

/// Under this much lockable memory a driver with a few rings and buffers of data gets into trouble.
const MEMLOCK_ENOUGH: u64 = 64 << 20;

impl System {
    /// Returns every obstacle to this caller's opening the device, in the order in which to mend them. There is none
    /// if the device is ready.
    ///
    /// Access to the device's nodes shows only once a VFIO driver is bound, which makes them. A device that another
    /// process has open is not noticed.
    #[must_use]
    pub fn obstacles(&self, device: &SysfsDevice, caller: &Caller) -> Vec<Obstacle> {
        if device.bridge {
            return vec![Obstacle::Bridge];
        }
        let mut obstacles = Vec::new();
        let mut noiommu = device.is_noiommu();
        if device.has_vfio_driver() {
            obstacles.extend(
                device
                    .group
                    .as_ref()
                    .and_then(|group| not_viable(device, group)),
            );
            obstacles.extend(nodes::obstacle(device, &self.dev));
        } else {
            if device.group.is_none() {
                noiommu = true;
                obstacles.extend(self.noiommu_mode().map(|mode| Obstacle::NoIommu { mode }));
            }
            if !self.has_vfio_pci() {
                obstacles.push(Obstacle::ModuleMissing);
            }
            obstacles.push(Obstacle::WrongDriver {
                address: device.address,
                driver: device.driver.clone(),
            });
            obstacles.extend(
                device
                    .group
                    .as_ref()
                    .and_then(|group| not_viable(device, group)),
            );
        }
        if noiommu {
            if !caller.sys_rawio {
                obstacles.push(Obstacle::NoRawIo);
            }
        } else if !caller.ipc_lock
            && let Some(limit) = caller.memlock.filter(|limit| *limit < MEMLOCK_ENOUGH)
        {
            obstacles.push(Obstacle::MemlockLimit {
                limit,
                max: caller.memlock_max,
            });
        }
        obstacles
    }

    /// Returns the reason that VFIO can't do without an IOMMU. `None` if it can.
    fn noiommu_mode(&self) -> Option<NoIommuMode> {
        let module = self.sysfs.join("module/vfio");
        match sysfs::text(&module.join("parameters/enable_unsafe_noiommu_mode")).as_deref() {
            Ok("Y") => None,
            Ok(_) => Some(NoIommuMode::Off),
            Err(_) if module.exists() => Some(NoIommuMode::Unsupported),
            Err(_) => Some(NoIommuMode::NotLoaded),
        }
    }
}

fn not_viable(device: &SysfsDevice, group: &SysfsGroup) -> Option<Obstacle> {
    let own = device.address.to_string();
    let members: Vec<_> = group
        .members
        .iter()
        .filter(|member| member.name != own && !member.leaves_dma_to_user())
        .cloned()
        .collect();
    if members.is_empty() {
        None
    } else {
        Some(Obstacle::GroupNotViable {
            group: group.number,
            members,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use rustix::process::{Uid, geteuid};

    use super::*;
    use vfio_conformance::fake_tree::FakeTree;

    const EDU: &str = "0000:00:05.0";
    const NIC: &str = "0000:00:06.0";

    /// May do all that opening a device asks.
    const ROOT: Caller = Caller {
        ipc_lock: true,
        sys_rawio: true,
        memlock: Some(8 << 20),
        memlock_max: Some(8 << 20),
    };
    /// What a user is given by default.
    const USER: Caller = Caller {
        ipc_lock: false,
        sys_rawio: false,
        ..ROOT
    };

    fn ready() -> FakeTree {
        FakeTree::with_ready_device(EDU)
    }

    fn obstacles(tree: &FakeTree, caller: &Caller) -> Vec<Obstacle> {
        let system = System::below(tree.root());
        system.obstacles(&system.device(EDU.parse().unwrap()).unwrap(), caller)
    }

    #[test]
    fn nothing_stands_in_the_way_of_a_ready_device() {
        assert_eq!(obstacles(&ready(), &ROOT), []);
    }

    #[test]
    fn without_a_group_there_is_no_iommu() {
        let tree = FakeTree::new();
        tree.device(EDU, 0x1234, 0x11e8, 0x00ff00);
        let mode_of = |tree: &FakeTree| match obstacles(tree, &ROOT).first() {
            Some(Obstacle::NoIommu { mode }) => Some(*mode),
            _ => None,
        };
        assert_eq!(mode_of(&tree), Some(NoIommuMode::NotLoaded));
        tree.write("sys/module/vfio/refcnt", "0\n");
        assert_eq!(mode_of(&tree), Some(NoIommuMode::Unsupported));
        tree.write(
            "sys/module/vfio/parameters/enable_unsafe_noiommu_mode",
            "N\n",
        );
        assert_eq!(mode_of(&tree), Some(NoIommuMode::Off));
        tree.write(
            "sys/module/vfio/parameters/enable_unsafe_noiommu_mode",
            "Y\n",
        );
        assert_eq!(mode_of(&tree), None);
    }

    #[test]
    fn another_driver_is_told_after_the_missing_module() {
        let tree = FakeTree::new();
        tree.device(EDU, 0x1234, 0x11e8, 0x00ff00);
        tree.group(EDU, 7);
        tree.bind(EDU, "edu");
        let wrong = Obstacle::WrongDriver {
            address: EDU.parse().unwrap(),
            driver: Some("edu".into()),
        };
        assert_eq!(
            obstacles(&tree, &ROOT),
            [Obstacle::ModuleMissing, wrong.clone()]
        );

        tree.driver("vfio-pci");
        assert_eq!(obstacles(&tree, &ROOT), std::slice::from_ref(&wrong));
        assert_eq!(
            wrong.remedy().commands,
            [
                "echo vfio-pci | sudo tee /sys/bus/pci/devices/0000:00:05.0/driver_override",
                "echo 0000:00:05.0 | sudo tee /sys/bus/pci/devices/0000:00:05.0/driver/unbind",
                "echo 0000:00:05.0 | sudo tee /sys/bus/pci/drivers_probe",
            ]
        );
    }

    #[test]
    fn a_device_without_a_driver_needs_no_unbinding() {
        let tree = FakeTree::new();
        tree.device(EDU, 0x1234, 0x11e8, 0x00ff00);
        tree.group(EDU, 7);
        tree.driver("vfio-pci");
        let [obstacle] = &obstacles(&tree, &ROOT)[..] else {
            panic!("one obstacle")
        };
        assert_eq!(obstacle.title(), "no driver");
        assert_eq!(obstacle.remedy().commands.len(), 2);
    }

    #[test]
    fn a_driver_of_the_kernel_in_the_group_makes_it_not_viable() {
        let tree = ready();
        for (address, driver) in [
            (NIC, Some("e1000e")),
            ("0000:00:07.0", Some("pcieport")),
            ("0000:00:08.0", None),
        ] {
            tree.device(address, 0x8086, 0x10d3, 0x020000);
            tree.group(address, 7);
            if let Some(driver) = driver {
                tree.bind(address, driver);
            }
        }
        let [obstacle] = &obstacles(&tree, &ROOT)[..] else {
            panic!("one obstacle")
        };
        assert_eq!(
            obstacle.to_string(),
            "IOMMU group 7 is not viable, because other drivers hold members of it: 0000:00:06.0 (e1000e)"
        );
        assert!(
            obstacle
                .remedy()
                .commands
                .iter()
                .all(|command| command.contains(NIC) && !command.contains(EDU))
        );
    }

    #[test]
    fn a_bridge_is_told_by_its_header_or_else_by_its_class() {
        let tree = FakeTree::new();
        tree.device(EDU, 0x1234, 1, 0x060400);
        assert_eq!(obstacles(&tree, &ROOT), [Obstacle::Bridge]);
        let config = format!("sys/bus/pci/devices/{EDU}/config");
        tree.write(&config, "\0".repeat(64));
        assert_ne!(obstacles(&tree, &ROOT), [Obstacle::Bridge]);
        tree.write(&config, "\u{1}".repeat(64));
        assert_eq!(obstacles(&tree, &ROOT), [Obstacle::Bridge]);
    }

    #[test]
    fn a_missing_node_is_named() {
        let tree = ready();
        tree.remove("dev/vfio/7");
        let path = tree.root().join("dev/vfio/7");
        assert_eq!(obstacles(&tree, &ROOT), [Obstacle::NodeMissing { path }]);
    }

    #[test]
    fn the_character_device_opens_where_the_group_does_not() {
        let tree = ready();
        tree.remove("dev/vfio/7");
        tree.write(
            &format!("sys/bus/pci/devices/{EDU}/vfio-dev/vfio0/dev"),
            "510:0\n",
        );
        tree.node("iommu", 0o666);
        tree.node("vfio/devices/vfio0", 0o666);
        assert_eq!(obstacles(&tree, &ROOT), []);
    }

    #[test]
    fn without_an_iommu_the_node_has_another_name_and_opening_takes_a_capability() {
        let tree = ready();
        tree.write("sys/kernel/iommu_groups/7/name", "vfio-noiommu\n");
        let path = tree.root().join("dev/vfio/noiommu-7");
        assert_eq!(
            obstacles(&tree, &USER),
            [Obstacle::NodeMissing { path }, Obstacle::NoRawIo]
        );
        tree.node("vfio/noiommu-7", 0o666);
        assert_eq!(obstacles(&tree, &ROOT), []);
    }

    #[test]
    fn a_small_limit_on_locked_memory_counts_only_without_the_capability() {
        let tree = ready();
        assert_eq!(
            obstacles(&tree, &USER),
            [Obstacle::MemlockLimit {
                limit: 8 << 20,
                max: Some(8 << 20)
            }]
        );
        assert_eq!(
            obstacles(
                &tree,
                &Caller {
                    memlock: Some(64 << 20),
                    ..USER
                }
            ),
            []
        );
        assert_eq!(
            obstacles(
                &tree,
                &Caller {
                    memlock: None,
                    ..USER
                }
            ),
            []
        );
        assert_eq!(obstacles(&tree, &ROOT), []);
    }

    #[test]
    fn the_shell_raises_the_limit_only_as_far_as_it_may() {
        let of = |max| Obstacle::MemlockLimit { limit: 0, max }.remedy().commands;
        assert_eq!(of(None), ["ulimit -l unlimited"]);
        assert_eq!(
            of(Some(8 << 20)),
            ["sudo prlimit --memlock=unlimited:unlimited --pid $$"]
        );
    }

    /// Runs `check` as a user for whom the modes of files count, which they do not for root.
    fn as_user(check: impl FnOnce() + Send) {
        thread::scope(|scope| {
            let user = scope.spawn(|| {
                if geteuid().is_root() {
                    // Of this thread alone: the system call knows nothing of the process.
                    let nobody = Some(Uid::from_raw(65534));
                    rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
                }
                check();
            });
            user.join().unwrap();
        });
    }

    #[test]
    fn a_node_without_permission_is_named() {
        let tree = ready();
        tree.node("vfio/7", 0o000);
        let path = tree.root().join("dev/vfio/7");
        as_user(|| {
            let caller = Caller {
                memlock: None,
                ..Caller::current()
            };
            assert!(!caller.ipc_lock);
            let found = obstacles(&tree, &caller);
            assert_eq!(
                found,
                [Obstacle::NoPermission {
                    paths: vec![path.clone()]
                }]
            );
            assert_eq!(
                found[0].remedy().commands,
                [format!("sudo chown \"$USER\" {}", path.display())]
            );
        });
        tree.node("vfio/7", 0o666);
        as_user(|| {
            assert_eq!(
                obstacles(
                    &tree,
                    &Caller {
                        memlock: None,
                        ..Caller::current()
                    }
                ),
                []
            )
        });
    }
}

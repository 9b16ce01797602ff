//! Sizes of the structs, offsets and sizes of their fields.

use std::mem::{offset_of, size_of};

use iommufd_bindings::iommufd::*;
use vfio_bindings::bindings::vfio::*;
use vfio_core::wire::abi::*;

use crate::missing::*;

fn field_size<T, F>(_: fn(&T) -> &F) -> usize {
    size_of::<F>()
}

/// Compares the size of two structs, and the offset and size of each of their fields. A field that
/// either struct has and the lists do not is a compile error. `renamed` is for names that differ,
/// `padding` for what only the Rust struct spells out, `tail` for C's array at the end.
macro_rules! same_layout {
    (
        $ours:ident = $theirs:ident { $($field:ident),* }
        $(renamed { $($our_name:ident: $their_name:ident),+ })?
        $(padding { $pad:ident })?
        $(tail { $tail:ident })?
    ) => {{
        let _every_field_of_ours = |value: &$ours| {
            let $ours { $($field: _,)* $($($our_name: _,)+)? $($pad: _,)? } = value;
        };
        let _every_field_of_theirs = |value: &$theirs| {
            let $theirs { $($field: _,)* $($($their_name: _,)+)? $($tail: _,)? } = value;
        };
        let name = stringify!($theirs);
        assert_eq!(size_of::<$ours>(), size_of::<$theirs>(), "size of {name}");
        $(same_layout!(field $ours $field, $theirs $field);)*
        $($(same_layout!(field $ours $our_name, $theirs $their_name);)+)?
        $(assert!(
            offset_of!($theirs, $tail) <= size_of::<$ours>(),
            "{name}: the array does not follow the struct"
        );)?
    }};
    (field $ours:ident $our_name:ident, $theirs:ident $their_name:ident) => {{
        let name = concat!(stringify!($theirs), "::", stringify!($their_name));
        assert_eq!(
            offset_of!($ours, $our_name),
            offset_of!($theirs, $their_name),
            "offset of {name}"
        );
        assert_eq!(
            field_size(|value: &$ours| &value.$our_name),
            field_size(|value: &$theirs| &value.$their_name),
            "size of {name}"
        );
    }};
}

#[test]
fn layouts_of_groups_and_devices_are_the_kernels() {
    same_layout!(InfoCapHeader = vfio_info_cap_header { id, version, next });
    same_layout!(GroupStatus = vfio_group_status { argsz, flags });
    same_layout!(
        DeviceInfo = vfio_device_info {
            argsz,
            flags,
            num_regions,
            num_irqs,
            cap_offset,
            pad
        }
    );
    same_layout!(
        DeviceInfoCapPciAtomicComp = vfio_device_info_cap_pci_atomic_comp {
            header,
            flags,
            reserved
        }
    );
    same_layout!(
        DeviceInfoCapZpciBase = vfio_device_info_cap_zpci_base {
            header,
            start_dma,
            end_dma,
            pchid,
            vfn,
            fmb_length,
            pft,
            gid,
            fh,
            ccdf_err_length
        }
    );
    same_layout!(DeviceInfoCapZpciGroup = vfio_device_info_cap_zpci_group {
        header, dasm, msi_addr, flags, mui, noi, maxstbl, version, reserved, imaxstbl
    } padding { pad });
    same_layout!(DeviceInfoCapZpciUtil = vfio_device_info_cap_zpci_util {
        header, size
    } tail { util_str });
    same_layout!(DeviceInfoCapZpciPfip = vfio_device_info_cap_zpci_pfip {
        header, size
    } tail { pfip });
    same_layout!(
        DeviceIoeventfd = vfio_device_ioeventfd {
            argsz,
            flags,
            offset,
            data,
            fd,
            reserved
        }
    );
    same_layout!(
        DeviceBindIommufd = vfio_device_bind_iommufd {
            argsz,
            flags,
            iommufd,
            out_devid,
            token_uuid_ptr
        }
    );
    same_layout!(
        DeviceAttachIommufdPt = vfio_device_attach_iommufd_pt {
            argsz,
            flags,
            pt_id,
            pasid
        }
    );
    same_layout!(
        DeviceDetachIommufdPt = vfio_device_detach_iommufd_pt {
            argsz,
            flags,
            pasid
        }
    );
    same_layout!(DeviceGfxPlaneInfo = vfio_device_gfx_plane_info {
        argsz, flags, drm_plane_type, drm_format, drm_format_mod, width, height, stride, size,
        x_pos, y_pos, x_hot, y_hot, reserved
    } renamed { region_index: __bindgen_anon_1 });
}

#[test]
fn layouts_of_regions_and_interrupts_are_the_kernels() {
    same_layout!(
        RegionInfo = vfio_region_info {
            argsz,
            flags,
            index,
            cap_offset,
            size,
            offset
        }
    );
    same_layout!(RegionSparseMmapArea = vfio_region_sparse_mmap_area { offset, size });
    same_layout!(RegionInfoCapSparseMmap = vfio_region_info_cap_sparse_mmap {
        header, nr_areas, reserved
    } tail { areas });
    same_layout!(
        RegionInfoCapType = vfio_region_info_cap_type {
            header,
            type_,
            subtype
        }
    );
    same_layout!(RegionInfoCapNvlink2Ssatgt = vfio_region_info_cap_nvlink2_ssatgt { header, tgt });
    same_layout!(RegionInfoCapNvlink2Lnkspd = vfio_region_info_cap_nvlink2_lnkspd {
        header, link_speed
    } renamed { pad: __pad });
    same_layout!(
        RegionGfxEdid = vfio_region_gfx_edid {
            edid_offset,
            edid_max_size,
            edid_size,
            max_xres,
            max_yres,
            link_state
        }
    );
    same_layout!(
        DeviceMigrationInfo = vfio_device_migration_info {
            device_state,
            reserved,
            pending_bytes,
            data_offset,
            data_size
        }
    );
    same_layout!(
        IrqInfo = vfio_irq_info {
            argsz,
            flags,
            index,
            count
        }
    );
    same_layout!(IrqSet = vfio_irq_set { argsz, flags, index, start, count } tail { data });
    same_layout!(PciDependentDevice = vfio_pci_dependent_device {
        segment, bus, devfn
    } renamed { group_id: __bindgen_anon_1 });
    same_layout!(PciHotResetInfo = vfio_pci_hot_reset_info { argsz, flags, count } tail { devices });
    same_layout!(PciHotReset = vfio_pci_hot_reset { argsz, flags, count } tail { group_fds });
}

#[test]
fn layouts_of_features_are_the_kernels() {
    same_layout!(DeviceFeature = vfio_device_feature { argsz, flags } tail { data });
    same_layout!(DeviceFeatureMigration = vfio_device_feature_migration { flags });
    same_layout!(
        DeviceFeatureMigState = vfio_device_feature_mig_state {
            device_state,
            data_fd
        }
    );
    same_layout!(
        PrecopyInfo = vfio_precopy_info {
            argsz,
            flags,
            initial_bytes,
            dirty_bytes
        }
    );
    same_layout!(
        DeviceLowPowerEntryWithWakeup = vfio_device_low_power_entry_with_wakeup {
            wakeup_eventfd,
            reserved
        }
    );
    same_layout!(DeviceFeatureDmaLoggingControl = vfio_device_feature_dma_logging_control {
        page_size, num_ranges, ranges
    } renamed { reserved: __reserved });
    same_layout!(
        DeviceFeatureDmaLoggingRange = vfio_device_feature_dma_logging_range { iova, length }
    );
    same_layout!(
        DeviceFeatureDmaLoggingReport = vfio_device_feature_dma_logging_report {
            iova,
            length,
            page_size,
            bitmap
        }
    );
    same_layout!(DeviceFeatureMigDataSize = vfio_device_feature_mig_data_size { stop_copy_length });
    same_layout!(DeviceFeatureBusMaster = vfio_device_feature_bus_master { op });
    same_layout!(RegionDmaRange = vfio_region_dma_range { offset, length });
    same_layout!(DeviceFeatureDmaBuf = vfio_device_feature_dma_buf {
        region_index, open_flags, flags, nr_ranges
    } tail { dma_ranges });
    same_layout!(DeviceFeatureZpciErr = vfio_device_feature_zpci_err { data });
}

#[test]
fn layouts_of_type1_are_the_kernels() {
    same_layout!(
        IommuType1Info = vfio_iommu_type1_info {
            argsz,
            flags,
            iova_pgsizes,
            cap_offset,
            pad
        }
    );
    same_layout!(IovaRange = vfio_iova_range { start, end });
    same_layout!(IommuType1InfoCapIovaRange = vfio_iommu_type1_info_cap_iova_range {
        header, nr_iovas, reserved
    } tail { iova_ranges });
    same_layout!(IommuType1InfoCapMigration = vfio_iommu_type1_info_cap_migration {
        header, flags, pgsize_bitmap, max_dirty_bitmap_size
    } padding { pad });
    same_layout!(IommuType1InfoDmaAvail = vfio_iommu_type1_info_dma_avail { header, avail });
    same_layout!(
        IommuType1DmaMap = vfio_iommu_type1_dma_map {
            argsz,
            flags,
            vaddr,
            iova,
            size
        }
    );
    same_layout!(Bitmap = vfio_bitmap { pgsize, size, data });
    same_layout!(IommuType1DmaUnmap = vfio_iommu_type1_dma_unmap {
        argsz, flags, iova, size
    } tail { data });
    same_layout!(IommuType1DirtyBitmap = vfio_iommu_type1_dirty_bitmap {
        argsz, flags
    } tail { data });
    same_layout!(
        IommuType1DirtyBitmapGet = vfio_iommu_type1_dirty_bitmap_get { iova, size, bitmap }
    );
}

#[test]
fn layouts_of_iommufd_are_the_kernels() {
    same_layout!(IommuDestroy = iommu_destroy { size, id });
    same_layout!(
        IommuIoasAlloc = iommu_ioas_alloc {
            size,
            flags,
            out_ioas_id
        }
    );
    same_layout!(IommuIovaRange = iommu_iova_range { start, last });
    same_layout!(IommuIoasIovaRanges = iommu_ioas_iova_ranges {
        size, ioas_id, num_iovas, allowed_iovas, out_iova_alignment
    } renamed { reserved: __reserved });
    same_layout!(IommuIoasAllowIovas = iommu_ioas_allow_iovas {
        size, ioas_id, num_iovas, allowed_iovas
    } renamed { reserved: __reserved });
    same_layout!(IommuIoasMap = iommu_ioas_map {
        size, flags, ioas_id, user_va, length, iova
    } renamed { reserved: __reserved });
    same_layout!(
        IommuIoasMapFile = iommu_ioas_map_file {
            size,
            flags,
            ioas_id,
            fd,
            start,
            length,
            iova
        }
    );
    same_layout!(
        IommuIoasCopy = iommu_ioas_copy {
            size,
            flags,
            dst_ioas_id,
            src_ioas_id,
            length,
            dst_iova,
            src_iova
        }
    );
    same_layout!(
        IommuIoasUnmap = iommu_ioas_unmap {
            size,
            ioas_id,
            iova,
            length
        }
    );
    same_layout!(IommuIoasNoiommuGetPa = iommu_ioas_noiommu_get_pa {
        size, flags, ioas_id, iova, length, out_phys
    } renamed { reserved: __reserved });
    same_layout!(IommuOption = iommu_option {
        size, option_id, op, object_id, val64
    } renamed { reserved: __reserved });
    same_layout!(IommuVfioIoas = iommu_vfio_ioas {
        size, ioas_id, op
    } renamed { reserved: __reserved });
}

//! Config space: the header, the capabilities of both lists, and what lies in BARs.

use core::hint::black_box;

use pci_types::PciAddress;
use vfio_core::device::Device;
use vfio_core::pci::{
    AccessControl, AddressTranslation, AdvancedFeatures, AlternativeRouting, Bar, Bars, Body,
    Capability, Config, ConfigAccess, ConfigError, ConfigRegion, ConfigWrite, DesignatedVendor,
    DeviceConfig, Entry, ErrorReporting, ExtendedId, ExtendedVendor, Link, ListError, Msi, Msix,
    MsixEntry, MsixPending, MsixTable, Pasid, PciExpress, PowerManagement, SerialNumber, Snapshot,
    SrIov, StandardId, TypedCapability, VendorSpecific,
};
use vfio_freestanding::opaque::{Opaque, OpaqueFd, any, used};

pub(crate) fn all(bytes: &mut [u8]) {
    let device = Device::new(Opaque, OpaqueFd);
    if let Ok(access) = DeviceConfig::ask(&device, bytes) {
        space(&mut Config::new(access), bytes);
    }
    let access = DeviceConfig::new(&device, any(), any());
    space(&mut Config::new(access), bytes);
    let mut copy = [0; 256];
    space(&mut Config::new(Snapshot(black_box(&mut copy[..]))), bytes);
    let (registers, bytes) = bytes.split_at_mut_checked(any()).unwrap_or_default();
    MsixEntry::all(registers).for_each(used);
    used(MsixEntry::from_bytes(any()));
    used(MsixPending::is_pending_in(bytes, any()));
    let registers: [u32; 8] = any();
    if let Ok(row) = Bars::new(registers.get(..any()).unwrap_or_default()) {
        bars(&row);
    }
    used((StandardId::name(any()), ExtendedId::name(any())));
    used(Device::bring_up(&device, any()).is_ok());

    let address = black_box(PciAddress::new(0, 1, 0, 0));
    let region = ConfigRegion::new(address, Config::new(access));
    used(ConfigRegion::address(&region));
    used(Config::into_access(ConfigRegion::into_config(region)));
}

fn space<A: ConfigWrite>(config: &mut Config<A>, bytes: &mut [u8]) {
    used(Config::access(config).size());
    used(Config::size(config));
    failed(Config::read_u8(config, any()));
    failed(Config::read_u16(config, any()));
    failed(Config::read_u32(config, any()));
    failed(Config::read_bytes(config, any(), bytes));
    failed(Config::write_u8(config, any(), any()));
    failed(Config::write_u16(config, any(), any()));
    failed(Config::write_u32(config, any(), any()));
    header(config);
    failed(Config::set_command(config, any()));
    failed(Config::clear_status(config, any()));

    for entry in Config::capabilities(config).chain(Config::extended_capabilities(config)) {
        match entry {
            Ok(entry) => capability(config, entry, bytes),
            Err(error) => wrong(error),
        }
    }
    failed(Config::find_entry(config, Msi::ID));
    failed(Config::find_entry(config, SrIov::ID));
    typed(config);
}

fn header<A: ConfigAccess>(config: &Config<A>) {
    failed(Config::id(config));
    failed(Config::command(config));
    failed(Config::status(config));
    failed(Config::class(config));
    failed(Config::header_type(config));
    failed(Config::subsystem(config));
    failed(Config::expansion_rom(config));
    failed(Config::interrupt_pin(config));
    failed(Config::interrupt_line(config));
    match Config::bars(config) {
        Ok(found) => bars(&found),
        Err(error) => wrong(error),
    }
}

fn capability<A: ConfigAccess>(config: &Config<A>, entry: Entry, bytes: &mut [u8]) {
    failed(Entry::decode(&entry, config));
    failed(Entry::decode_as::<Msix, _>(&entry, config));
    let body = Entry::body(&entry, config);
    used((Body::entry(&body), Body::offset(&body)));
    failed(Body::read_u8(&body, any()));
    failed(Body::read_u16(&body, any()));
    failed(Body::read_u32(&body, any()));
    failed(Body::read_bytes(&body, any(), bytes));
    failed(Body::check_len(&body, any(), any()));
    failed(<Msi as TypedCapability>::decode(&body));
    used(matches!(
        Entry::decode(&entry, config),
        Ok(Capability::Other { .. })
    ));
}

/// Reads every type of capability, and all that it tells.
fn typed<A: ConfigAccess>(config: &Config<A>) {
    failed(Config::find::<VendorSpecific>(config));
    failed(Config::find::<ExtendedVendor>(config));
    failed(Config::find::<DesignatedVendor>(config));
    failed(Config::find::<SerialNumber>(config));
    failed(Config::find::<AccessControl>(config));
    found(config, |pasid| used(Pasid::width(&pasid)));
    found(config, |errors| used(ErrorReporting::first_error(&errors)));
    found(config, |features| {
        used(AdvancedFeatures::has_flr(&features))
    });
    found(config, |routing| {
        used(AlternativeRouting::next_function(&routing))
    });
    found(config, |ats| {
        used((
            AddressTranslation::invalidate_queue_depth(&ats),
            AddressTranslation::page_aligned_request(&ats),
            AddressTranslation::global_invalidate(&ats),
            AddressTranslation::is_enabled(&ats),
            AddressTranslation::smallest_translation_unit(&ats),
        ));
    });
    found(config, |power| {
        used((
            PowerManagement::version(&power),
            PowerManagement::state(&power),
            PowerManagement::no_soft_reset(&power),
            PowerManagement::pme_enabled(&power),
            PowerManagement::pme_status(&power),
        ));
    });
    found(config, |sriov: SrIov| {
        used(SrIov::vf_routing_id(&sriov, any(), any()));
        bars(&sriov.vf_bars);
    });
    found(config, |msi| {
        used((Msi::vectors(&msi), Msi::vectors_enabled(&msi)));
        used((Msi::is_enabled(&msi), Msi::size(&msi)));
    });
    found(config, |msix: Msix| {
        used((Msix::is_enabled(&msix), Msix::is_masked(&msix)));
        tables(&msix);
    });
    found(config, express);
}

fn express(express: PciExpress) {
    used((
        PciExpress::version(&express),
        PciExpress::port_type(&express),
        PciExpress::has_slot(&express),
        PciExpress::interrupt_message(&express),
        PciExpress::has_flr(&express),
        PciExpress::max_payload_supported(&express),
        PciExpress::max_payload(&express),
        PciExpress::max_read_request(&express),
    ));
    if let Some(link) = express.link {
        used((Link::max_speed(&link), Link::max_width(&link)));
        used((Link::speed(&link), Link::width(&link)));
    }
}

/// Reads the tables of MSI-X from a BAR about which nothing is known.
fn tables(msix: &Msix) {
    let read = |offset| {
        used(offset);
        any::<bool>().then(any).ok_or(())
    };
    let table = &msix.table;
    used(MsixTable::new(any(), any()));
    used((MsixTable::vectors(table), MsixTable::bar(table)));
    used((MsixTable::offset(table), MsixTable::range(table)));
    match MsixTable::entry(table, any(), read) {
        Ok(entry) => used(MsixEntry::is_masked(&entry)),
        Err(error) => used(error),
    }
    let pending = &msix.pending;
    used((MsixPending::vectors(pending), MsixPending::bar(pending)));
    used((MsixPending::offset(pending), MsixPending::range(pending)));
    used(MsixPending::is_pending(pending, any(), read));
}

fn bars(bars: &Bars) {
    for (index, bar) in Bars::iter(bars) {
        used((index, Bar::address(bar)));
    }
    bars.into_iter().for_each(used);
    used(Bars::get(bars, any()));
}

fn found<C: TypedCapability, A: ConfigAccess>(config: &Config<A>, look: impl Fn(C)) {
    match Config::find(config) {
        Ok(found) => found.into_iter().for_each(look),
        Err(error) => wrong(error),
    }
}

fn failed<T, E>(result: Result<T, ConfigError<E>>) {
    match result {
        Ok(value) => used(value),
        Err(error) => wrong(error),
    }
}

fn wrong<E>(error: ConfigError<E>) {
    if let ConfigError::List(error) = &error {
        used(ListError::offset(error));
    }
    used(ConfigError::offset(&error));
    used(error);
}

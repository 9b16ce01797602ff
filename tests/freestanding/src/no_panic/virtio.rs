//! The drivers of virtio devices.

use core::time::Duration;

use vfio_core::device::Device;
use vfio_core::dma::Dma;
use vfio_core::mmio::CanReadWrite;
use vfio_core::pci::BringUpError;
use vfio_drivers::nic::{MacAddress, Nic as _, PartialChecksum, Phy};
use vfio_drivers::virtio::net::{self, Net};
use vfio_drivers::virtio::{Features, PciTransport, Transport, blk};
use vfio_exercise::{virtio_blk, virtio_net};
use vfio_freestanding::opaque::{Opaque, any, used};

type Devices<'d> = &'d Device<Opaque>;
type Dmas<'d> = &'d Dma<Opaque, 16>;

pub(crate) fn all(device: Devices<'_>, dma: Dmas<'_>, bytes: &mut [u8]) {
    if let Ok(transport) = PciTransport::open(device, dma) {
        used(transport.take_cause().is_ok());
        used(transport.device().reset().is_ok());
        used(transport.device_type());
        card(transport, device, bytes);
    }
    if let Ok(transport) = PciTransport::open(device, dma) {
        disk(transport, bytes);
    }
    if let Ok(transport) = PciTransport::open(device, dma) {
        let peer = virtio_net::Peer::default();
        let report = virtio_net::exercise(device, transport, peer);
        used(virtio_net::Report::passed(&report));
    }
    if let Ok(transport) = PciTransport::open(device, dma) {
        let report = virtio_blk::exercise(transport, bytes);
        used(virtio_blk::Report::passed(&report));
    }
    // BARs that are reached in another way.
    let trapped = PciTransport::open_with(device, dma, |device: Devices<'_>, index| {
        let of_region = |error| BringUpError::Region { index, error };
        let mut reply = [0; 64];
        let region = device.region(index, &mut reply).map_err(of_region)?;
        let of_map = |error| BringUpError::Map { index, error };
        device.trap::<CanReadWrite>(&region).map_err(of_map)
    });
    if let Ok(transport) = trapped {
        card(transport, device, bytes);
    }
}

fn card<T: Transport>(transport: T, device: Devices<'_>, bytes: &mut [u8]) {
    let options = net::Options {
        vector: Some(any()),
        config_vector: Some(any()),
        without: Features(any()),
        command: Duration::from_nanos(any()),
    };
    let Ok(mut card) = Net::<_, 2, 7>::start(transport, options) else {
        return;
    };
    used((card.state(), card.features(), card.mac()));
    used((card.longest_frame(), card.pairs(), card.most_pairs()));
    used((card.link().is_ok(), card.check().is_ok()));
    used(card.use_pairs(any()).is_ok());
    used(card.set_promiscuous(any()).is_ok());
    used(card.set_all_multicast(any()).is_ok());
    used(card.set_mac(MacAddress([any(); 6])).is_ok());
    used(card.restart().is_ok());
    frames(&mut card, device, bytes);
    if let Some(pair) = card.pair(any()) {
        stack(Phy::new(pair));
    }
    card.stop();
}

fn frames<T: Transport>(card: &mut Net<T, 2, 7>, device: Devices<'_>, bytes: &mut [u8]) {
    for mut pair in card.pairs_mut() {
        let partial = PartialChecksum {
            start: any(),
            offset: any(),
        };
        used(pair.has_room().is_ok());
        used(pair.send(bytes, Some(partial)).is_ok());
        used((pair.flush().is_ok(), pair.unsent().is_ok()));
        used((pair.receive(bytes).is_ok(), pair.dropped()));
        used((pair.checksums(), pair.longest_frame()));
        if let Ok(vectors) = device.vectors::<1>(any()) {
            used(pair.wait(&vectors, Duration::from_nanos(any())).is_ok());
        }
    }
}

/// Does with a card what smoltcp does.
fn stack<N: vfio_drivers::nic::Nic>(mut phy: Phy<N, 1514>) {
    use smoltcp::phy::{Device as _, RxToken as _, TxToken as _};
    use smoltcp::time::Instant;
    if let Some((incoming, outgoing)) = phy.receive(Instant::from_micros(any::<i64>())) {
        incoming.consume(|frame| used(frame.first()));
        outgoing.consume(any(), |frame| used(frame.first_mut()));
    }
    if let Some(outgoing) = phy.transmit(Instant::from_micros(any::<i64>())) {
        outgoing.consume(any(), |frame| used(frame.first_mut()));
    }
    used((phy.capabilities().max_transmission_unit, phy.damaged()));
    used((phy.nic().mac(), phy.flush().is_ok()));
}

fn disk<T: Transport>(transport: T, bytes: &mut [u8]) {
    let options = blk::Options {
        slot: any(),
        requests: any(),
        without: Features(any()),
        request: Duration::from_nanos(any()),
    };
    let Ok(mut disk) = blk::Blk::<_, 7>::start(transport, options) else {
        return;
    };
    used((disk.state(), disk.features(), *disk.info()));
    used(disk.read(any(), bytes).is_ok());
    used(disk.write(any(), bytes).is_ok());
    used((disk.flush().is_ok(), disk.id().is_ok()));
    used(disk.restart().is_ok());
    disk.stop();
}

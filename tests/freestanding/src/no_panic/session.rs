//! Opening a device in whichever way there is.

use core::hint::black_box;

use vfio_core::dma::Dma;
use vfio_core::open::AddressSpace;
use vfio_core::open::{Mode, Place, Session, SessionError};
use vfio_core::sys::{GroupPath, NoIommu, Sys};
use vfio_freestanding::opaque::{Opaque, any, used};

pub(crate) fn all() {
    // SAFETY: there is no device.
    let word = unsafe { NoIommu::acknowledge() };
    let place = Place {
        name: c"0000:00:05.0",
        group: any::<bool>().then(any),
        is_noiommu: any(),
        noiommu: any::<bool>().then_some(word),
        cdev: any::<bool>().then_some(c"/dev/vfio/devices/vfio0"),
        socket: any::<bool>().then_some(c"socket"),
        token: any::<bool>().then(any),
    };
    if let Ok(session) = Session::open(&Opaque, &place) {
        used(Session::split(session).is_ok());
    }
    if let Ok(session) = Session::open(&Opaque, &place)
        && let Ok((_device, dma)) = Session::split_with_room::<4>(session)
    {
        used(Dma::attach(&dma, &place).is_ok());
        used(AddressSpace::attach(dma.space(), &place).is_ok());
        used((Dma::narrow(&dma), Dma::keep_back(&dma, any(), any())));
    }
    if let Ok(session) = Session::open(&Opaque, &place) {
        used(Dma::<_, 4>::new(Opaque, session.space).is_ok());
        used(session.device.bring_up(any()).is_ok());
    }
    let modes = [Mode::Type1, Mode::NoIommu];
    used(Session::open_first(black_box(&modes), &Opaque, &place).is_ok());
    for mode in Mode::PREFERRED.into_iter().chain([Mode::VfioUser]) {
        used((Mode::name(mode), Mode::is_iommufd(mode)));
        used((Mode::iommu(mode), Mode::container_path(mode)));
        match Session::open_in(mode, &Opaque, &place) {
            Ok(session) => used(session),
            Err(error) => used(SessionError::is_absence(&error)),
        }
    }
    used(Mode::by_name("type1"));
    used(Sys::open_group(&Opaque, any(), any::<bool>().then_some(word)).is_ok());
    let path = GroupPath::new(any(), any::<bool>().then_some(word));
    used(GroupPath::as_c_str(&path));
}

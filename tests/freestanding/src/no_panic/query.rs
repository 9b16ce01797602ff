//! The INFO protocol, with each kind of buffer.

use vfio_core::query::{self, QueryError, ReplyBuffer, Staged};
use vfio_core::sys::Errno;
use vfio_core::wire;
use vfio_freestanding::opaque::{Opaque, OpaqueFd, any, used};

use crate::info;

pub(crate) fn all(a: &mut [u8], b: &mut [u8]) {
    every_kind(a);
    every_kind(&mut [0; 256]);
    let (small, large) = (&mut *a, b);
    every_kind(&mut Staged::new(small, large));
    asked(query::irq(&Opaque, &OpaqueFd, any()), used);
    used(wire::put_argsz(a));
    used((Errno::name(Errno(any())), Errno::text(Errno(any()))));
}

fn every_kind<B: ReplyBuffer + ?Sized>(buffer: &mut B) {
    let (sys, fd) = (&Opaque, &OpaqueFd);
    asked(query::device(sys, fd, buffer), info::device);
    asked(query::region(sys, fd, any(), buffer), info::region);
    asked(query::iommu(sys, fd, buffer), info::iommu);
    asked(query::hot_reset(sys, fd, buffer), info::hot_reset);
    used(<B as ReplyBuffer>::grow(buffer, any()));
    used(<B as ReplyBuffer>::bytes(buffer));
}

/// Looks at an answer, or at why there is none.
pub(crate) fn asked<T, H>(result: Result<T, QueryError<H>>, look: impl Fn(T)) {
    match result {
        Ok(answer) => look(answer),
        Err(QueryError::Errno(errno)) => used(errno),
        Err(QueryError::TooSmall { head, needed }) => used((head, needed)),
        Err(QueryError::Malformed(error)) => info::malformed(error),
    }
}

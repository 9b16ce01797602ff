//! Why a check fails.

use vfio_core::open::SessionError;
use vfio_core::open::container::OpenError;
use vfio_core::query::QueryError;
use vfio_core::sys::Errno;

use crate::text::Text;

/// Why a check fails.
#[derive(Clone, Copy)]
pub(crate) enum Failure {
    /// A system call failed while doing this.
    Call(&'static str, i32),
    /// A reply can't be trusted, in this way.
    Malformed(&'static str),
    /// This is another number than it must be.
    Differs {
        what: &'static str,
        is: u64,
        must_be: u64,
    },
    /// Something else.
    Other(&'static str),
}

impl Failure {
    /// Returns the failure in words.
    pub(crate) fn text(self) -> Text {
        match self {
            Self::Call(what, errno) => {
                let name = Errno(errno).name().unwrap_or("errno");
                let text = Text::new().and(what).and(": ").and(name).and(" ");
                text.decimal(u64::from(errno.unsigned_abs()))
            }
            Self::Malformed(kind) => Text::new().and("malformed reply: ").and(kind),
            Self::Differs { what, is, must_be } => {
                let text = Text::new().and(what).and(" is ").hexadecimal(is);
                text.and(", not ").hexadecimal(must_be)
            }
            Self::Other(what) => Text::new().and(what),
        }
    }
}

impl<H> From<QueryError<H>> for Failure {
    fn from(error: QueryError<H>) -> Self {
        match error {
            QueryError::Errno(Errno(errno)) => Self::Call("ioctl", errno),
            QueryError::TooSmall { .. } => Self::Other("the buffer is too small"),
            QueryError::Malformed(error) => Self::Malformed(error.kind()),
        }
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Group(error) => error.into(),
            _ => Self::Other("the device is not opened through its group"),
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Container(Errno(errno)) => Self::Call("/dev/vfio/vfio", errno),
            OpenError::Socket(Errno(errno)) => Self::Call("connecting", errno),
            OpenError::Ask(Errno(errno)) => Self::Call("asking the container", errno),
            OpenError::ApiVersion(_) => Self::Other("another version of the API"),
            OpenError::NoIommu(_) => Self::Other("no such IOMMU driver"),
            OpenError::Group { errno, .. } => Self::Call("opening the group", errno.0),
            OpenError::NotViable { .. } => Self::Other("the group is not viable"),
            OpenError::Attach { errno, .. } => Self::Call("attaching the group", errno.0),
            OpenError::SetIommu { errno, .. } => Self::Call("setting the IOMMU driver", errno.0),
            OpenError::Device(Errno(errno)) => Self::Call("opening the device", errno),
        }
    }
}

//! A kernel to ask, which answers from the fuzzer's input, and lies.

use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::rc::Rc;

use vfio_core::sys::{
    Absent, Errno, FdRequest, InfoRequest, NameRequest, Sys, ValueRequest, put_argsz,
};

/// What successive system calls are answered with, taken from the fuzzer's input.
///
/// The input is 16 bytes and then the replies:
/// - 0: the question, 1: the kind of buffer, 2 to 5: the lengths of two buffers (`u16`);
/// - 6: into how many replies of equal length the rest is cut, less one;
/// - 7: a bit that makes replies carry the index that was asked for, where there is one;
/// - 8 to 15: how each of eight calls ends: 0 well, any other number as that errno.
///
/// After the last, they start over, until [`LAST_CALL`].
#[derive(Clone, Copy, Debug)]
pub struct Script<'a> {
    /// What to ask.
    pub question: u8,
    /// The kind of buffer to ask with.
    pub buffer: u8,
    /// The lengths of the buffers in bytes.
    pub lens: [usize; 2],
    parts: usize,
    keeps_index: bool,
    ends: [u8; 8],
    replies: &'a [u8],
}

/// From this INFO ioctl on, counted from 0, all fail with `EINVAL`: a device that claims thousands of
/// indexes would only be slow.
pub const LAST_CALL: usize = 20;

/// The longest buffer to ask with, in bytes.
const LONGEST: usize = 4200;

impl<'a> Script<'a> {
    /// Reads an input; none where it is too short.
    #[must_use]
    pub fn new(input: &'a [u8]) -> Option<Self> {
        let (head, replies) = input.split_at_checked(16)?;
        let len = |at: usize| usize::from(u16::from_le_bytes([head[at], head[at + 1]]));
        Some(Self {
            question: head[0],
            buffer: head[1],
            lens: [len(2), len(4)].map(|len| len % LONGEST),
            parts: usize::from(head[6] % 8) + 1,
            keeps_index: head[7] & 1 != 0,
            ends: head[8..].first_chunk().copied()?,
            replies,
        })
    }

    fn reply(&self, call: usize) -> &'a [u8] {
        let len = self.replies.len() / self.parts;
        let at = call % self.parts * len;
        &self.replies[at..at + len]
    }

    fn end(&self, call: usize) -> Result<(), Errno> {
        match self.ends[call % self.ends.len()] {
            0 => Ok(()),
            errno => Err(Errno(errno.into())),
        }
    }
}

/// The kernel. It keeps a record of what it was asked.
#[derive(Debug)]
pub struct Kernel<'a> {
    script: Script<'a>,
    calls: Cell<usize>,
    open: Rc<Cell<usize>>,
    record: RefCell<Vec<Call>>,
}

/// An INFO ioctl that was made.
#[derive(Clone, Debug)]
pub struct Call {
    /// The request.
    pub request: InfoRequest,
    /// What came with it, argsz put in.
    pub asked: Vec<u8>,
    /// The whole reply.
    pub reply: Vec<u8>,
    /// How it ended.
    pub end: Result<(), Errno>,
}

/// An open file, which the kernel counts.
#[derive(Debug)]
pub struct Fd(Rc<Cell<usize>>);

impl<'a> Kernel<'a> {
    /// Creates a kernel that answers by `script`.
    #[must_use]
    pub fn new(script: Script<'a>) -> Self {
        Self {
            script,
            calls: Cell::new(0),
            open: Rc::default(),
            record: RefCell::default(),
        }
    }

    /// Returns an open file.
    #[must_use]
    pub fn file(&self) -> Fd {
        self.open.set(self.open.get() + 1);
        Fd(self.open.clone())
    }

    /// Returns how many files are open.
    #[must_use]
    pub fn open_files(&self) -> usize {
        self.open.get()
    }

    /// Returns the INFO ioctls since the last time.
    #[must_use]
    pub fn take_record(&self) -> Vec<Call> {
        self.record.take()
    }

    /// Returns the number of this call, from 0.
    fn count(&self) -> usize {
        self.calls.replace(self.calls.get() + 1)
    }

    /// Returns the start of this call's reply, as a number, and how the call ends.
    fn answer(&self) -> Result<u32, Errno> {
        let call = self.count();
        self.script.end(call)?;
        let reply = self.script.reply(call).first_chunk();
        // Never negative.
        Ok(reply.map_or(0, |bytes| u32::from_le_bytes(*bytes) >> 1))
    }
}

impl Sys for Kernel<'_> {
    type Fd = Fd;
    type Mapping = Absent;
    type Memory = Absent;
    type Event = Absent;

    fn page_size(&self) -> usize {
        4096
    }

    fn open(&self, path: &CStr) -> Result<Fd, Errno> {
        let path = path.to_str().expect("a path of VFIO is ASCII");
        let name = path.strip_prefix("/dev/vfio/").expect("not a path of VFIO");
        assert!(name == "vfio" || name.parse::<u32>().is_ok(), "{path}");
        self.answer().map(|_| self.file())
    }

    fn ioctl_info(&self, _: &Fd, request: InfoRequest, reply: &mut [u8]) -> Result<(), Errno> {
        put_argsz(reply)?;
        let call = self.count();
        if call >= LAST_CALL {
            return Err(Errno::EINVAL);
        }
        let asked = reply.to_vec();
        let end = self.script.end(call);
        reply
            .iter_mut()
            .zip(self.script.reply(call))
            .for_each(|(to, from)| *to = *from);
        if self.script.keeps_index
            && matches!(request, InfoRequest::Region | InfoRequest::Irq)
            && let (Some(to), Some(from)) = (reply.get_mut(8..12), asked.get(8..12))
        {
            to.copy_from_slice(from);
        }
        self.record.borrow_mut().push(Call {
            request,
            asked,
            reply: reply.to_vec(),
            end,
        });
        end
    }

    fn ioctl_value(&self, _: &Fd, _: ValueRequest, _: u32) -> Result<u32, Errno> {
        self.answer()
    }

    fn ioctl_fd(&self, _: &Fd, _: FdRequest, _: &Fd) -> Result<(), Errno> {
        self.answer().map(drop)
    }

    fn ioctl_name(&self, _: &Fd, _: NameRequest, _: &CStr) -> Result<Fd, Errno> {
        self.answer().map(|_| self.file())
    }

    fn pread(&self, _: &Fd, _: &mut [u8], _: u64) -> Result<usize, Errno> {
        Err(Errno::EIO)
    }

    fn pwrite(&self, _: &Fd, _: &[u8], _: u64) -> Result<usize, Errno> {
        Err(Errno::EIO)
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

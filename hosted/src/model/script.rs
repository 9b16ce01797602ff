//! Replies that a test gives.

use std::boxed::Box;
use std::collections::VecDeque;
use std::vec::Vec;

use vfio_core::sys::{Errno, InfoRequest};

/// Answers INFO ioctls with what a test gives, in order for each kind of request.
///
/// The last reply to a kind of request stays: it is given to all that follow. A request of which
/// no reply was given fails with `EINVAL`. For replies that depend on the question there is
/// [`Model::scripted`](super::Model::scripted).
#[derive(Clone, Debug, Default)]
pub struct Script {
    replies: Vec<(InfoRequest, Replies)>,
}

/// What the requests of a kind are answered with, in order.
type Replies = VecDeque<Result<Vec<u8>, Errno>>;

/// A function that answers.
pub(super) type Answer = Box<dyn FnMut(InfoRequest, &mut [u8]) -> Result<(), Errno> + Send>;

impl Script {
    /// Creates a script without replies.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            replies: Vec::new(),
        }
    }

    /// Lets the next request of the kind be answered with `bytes`: they are copied over the
    /// caller's buffer, cut to its length, and argsz is no exception.
    #[must_use]
    pub fn reply(self, request: InfoRequest, bytes: impl Into<Vec<u8>>) -> Self {
        self.push(request, Ok(bytes.into()))
    }

    /// Lets the next request of the kind fail.
    #[must_use]
    pub fn fail(self, request: InfoRequest, errno: Errno) -> Self {
        self.push(request, Err(errno))
    }

    fn push(mut self, request: InfoRequest, reply: Result<Vec<u8>, Errno>) -> Self {
        let of_kind = self.replies.iter_mut().find(|(kind, _)| *kind == request);
        match of_kind {
            Some((_, replies)) => replies.push_back(reply),
            None => self.replies.push((request, [reply].into())),
        }
        self
    }

    /// Answers a request.
    ///
    /// # Errors
    /// What the script says.
    pub fn answer(&mut self, request: InfoRequest, reply: &mut [u8]) -> Result<(), Errno> {
        let replies = self
            .replies
            .iter_mut()
            .find_map(|(kind, replies)| (*kind == request).then_some(replies))
            .ok_or(Errno::EINVAL)?;
        let next = if replies.len() > 1 {
            replies.pop_front()
        } else {
            replies.front().cloned()
        };
        let bytes = next.unwrap_or(Err(Errno::EINVAL))?;
        reply
            .iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = from);
        Ok(())
    }
}

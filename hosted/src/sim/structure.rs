//! Structures in a request's argument.

use vfio_core::sys::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Returns the structure at the start of an argument.
pub(in crate::sim) fn get<T: FromBytes>(argument: &[u8]) -> Result<T, Errno> {
    let read = T::read_from_prefix(argument);
    read.map(|(head, _)| head).map_err(|_| Errno::EINVAL)
}

/// Returns the two structures at the start of an argument.
pub(in crate::sim) fn get_two<T: FromBytes, U: FromBytes>(
    argument: &[u8],
) -> Result<(T, U), Errno> {
    let (first, rest) = T::read_from_prefix(argument).map_err(|_| Errno::EINVAL)?;
    Ok((first, get(rest)?))
}

/// Returns the structure that an argument is: what follows it, which this kernel does not know,
/// must be zero.
pub(in crate::sim) fn get_whole<T: FromBytes>(argument: &[u8]) -> Result<T, Errno> {
    let (head, rest) = T::read_from_prefix(argument).map_err(|_| Errno::EINVAL)?;
    if rest.iter().all(|byte| *byte == 0) {
        Ok(head)
    } else {
        Err(Errno::E2BIG)
    }
}

/// Returns a structure whose end may be missing.
pub(in crate::sim) fn get_prefix<T: FromBytes + IntoBytes + Immutable + Default>(
    argument: &[u8],
) -> T {
    let mut head = T::default();
    head.as_mut_bytes()
        .iter_mut()
        .zip(argument)
        .for_each(|(to, from)| *to = *from);
    head
}

/// Writes the answer, as far as there is room.
pub(in crate::sim) fn put<T: IntoBytes + Immutable>(
    argument: &mut [u8],
    answer: &T,
) -> Result<(), Errno> {
    argument
        .iter_mut()
        .zip(answer.as_bytes())
        .for_each(|(to, from)| *to = *from);
    Ok(())
}

//! How a copy is cut into frames.

use super::{FRAME_LEAST, FRAME_MOST};

/// A frame of a copy: where it starts, and its length, in bytes.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub(super) at: usize,
    pub(super) len: u16,
}

/// Returns the frames of a copy of `len` bytes from `done` on. There are as many as rings of `R`
/// descriptors hold.
pub(super) fn batch<const R: usize>(done: usize, len: usize) -> impl Iterator<Item = Frame> {
    let mut at = done;
    let frames = core::iter::from_fn(move || {
        let frame = Frame {
            at,
            len: frame_len(len.checked_sub(at)?)?,
        };
        at = at.checked_add(usize::from(frame.len))?;
        Some(frame)
    });
    // A ring that is full looks like one that is empty.
    frames.take(R.saturating_sub(1))
}

/// Returns the length of the next frame where `left` bytes are left. No last frame is too short.
fn frame_len(left: usize) -> Option<u16> {
    let len = match left.checked_sub(FRAME_MOST) {
        None | Some(0) => left,
        Some(rest) if rest < FRAME_LEAST => left.checked_sub(FRAME_LEAST)?,
        Some(_) => FRAME_MOST,
    };
    u16::try_from(len).ok().filter(|len| *len != 0)
}

/// Returns the address `by` bytes after `iova`.
pub(super) fn offset(iova: u64, by: usize) -> Option<u64> {
    iova.checked_add(u64::try_from(by).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_cut_into_frames_none_of_which_is_too_short() {
        for len in FRAME_LEAST..5 * FRAME_MOST {
            let mut done = 0;
            while done < len {
                let mut frames = 0;
                for frame in batch::<8>(done, len) {
                    let frame_len = usize::from(frame.len);
                    assert_eq!(frame.at, done, "{len}");
                    assert!((FRAME_LEAST..=FRAME_MOST).contains(&frame_len), "{len}");
                    done += frame_len;
                    frames += 1;
                }
                assert!((1..8).contains(&frames), "{len}");
            }
            assert_eq!(done, len);
        }
    }
}

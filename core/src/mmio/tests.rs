//! Register access over plain memory, and over a file that fails.

use std::vec::Vec;

use core::ptr::NonNull;

use super::field::{ReadOnly, ReadPure, ReadPureWrite, WriteOnly};
use super::{
    Access, Mapped, NotPermitted, OffsetError, Protection, RegisterError, SharedMemory, TrapError,
    Window,
};
use crate::device::file::File;
use crate::device::region::TrappedRegion;
use crate::registers;
use crate::wire::Errno;

/// Memory in place of a BAR, aligned as a page is.
#[repr(align(4096))]
struct Bar([u8; 64]);

impl Bar {
    /// Returns the memory, for as long as it is borrowed.
    fn window(&mut self) -> Window<SharedMemory<'_>> {
        let base = NonNull::from(&mut self.0).cast();
        // SAFETY: the memory is borrowed for as long as the window lives, and aligned to a page.
        Window::new(unsafe { SharedMemory::new(base, self.0.len()) })
    }
}

registers! {
    struct Registers: 0x10 {
        0x00 id: ReadPure<u32>,
        0x04 data: ReadPureWrite<u16>,
        0x06 status: ReadOnly<u8>,
        0x07 command: WriteOnly<u8>,
        0x08 address: ReadPureWrite<u64>,
    }
}

#[test]
fn registers_are_little_endian_and_at_their_offsets() {
    let mut bar = Bar([0; 64]);
    bar.0[16..20].copy_from_slice(&[0xed, 0, 0, 1]);
    bar.0[22] = 7;
    {
        let mut window = bar.window();
        let mut block = window.block::<Registers>(16).unwrap();
        assert_eq!(block.get(Registers::id), Ok(0x0100_00ed));
        assert_eq!(block.read(Registers::status), Ok(7));
        block.write(Registers::data, 0x1234).unwrap();
        block.write(Registers::command, 9).unwrap();
        block
            .write(Registers::address, 0x0102_0304_0506_0708)
            .unwrap();
        assert_eq!(block.get(Registers::address), Ok(0x0102_0304_0506_0708));
    }
    assert_eq!(bar.0[20..24], [0x34, 0x12, 7, 9]);
    assert_eq!(bar.0[24..32], [8, 7, 6, 5, 4, 3, 2, 1]);
}

#[test]
fn offsets_that_overflow_straddle_or_misalign_are_errors() {
    let mut bar = Bar([0; 64]);
    let mut window = bar.window();
    let bounds = |offset, size| {
        Err(RegisterError::Offset(OffsetError::OutOfBounds {
            offset,
            size,
            len: 64,
        }))
    };
    let aligned = |offset, align| {
        Err(RegisterError::Offset(OffsetError::Misaligned {
            offset,
            align,
        }))
    };
    assert_eq!(window.read::<u64>(56), Ok(0));
    assert_eq!(window.read::<u64>(64), bounds(64, 8).map(|()| 0));
    assert_eq!(window.read::<u32>(62), aligned(62, 4).map(|()| 0));
    assert_eq!(window.write::<u16>(63, 0), aligned(63, 2));
    assert_eq!(window.read::<u8>(64), bounds(64, 1).map(|()| 0));
    assert_eq!(
        window.write::<u64>(usize::MAX - 7, 0),
        bounds(usize::MAX - 7, 8)
    );
    assert_eq!(window.write::<u64>(usize::MAX, 0), aligned(usize::MAX, 8));
}

#[test]
fn a_block_must_lie_in_its_window() {
    let mut bar = Bar([0; 64]);
    let mut window = bar.window();
    assert!(window.block::<Registers>(48).is_ok());
    let size = 16;
    for offset in [56, usize::MAX - 7] {
        let error = window.block::<Registers>(offset).unwrap_err();
        assert_eq!(
            error,
            OffsetError::OutOfBounds {
                offset,
                size,
                len: 64
            }
        );
    }
    let error = window.block::<Registers>(4).unwrap_err();
    assert_eq!(
        error,
        OffsetError::Misaligned {
            offset: 4,
            align: 8
        }
    );
}

#[test]
fn a_window_shorter_than_a_register_has_none() {
    let mut bar = Bar([0; 64]);
    let base = NonNull::from(&mut bar.0).cast();
    // SAFETY: the memory outlives the window.
    let mut window = Window::new(unsafe { SharedMemory::new(base, 7) });
    assert!(window.read::<u64>(0).is_err());
    assert_eq!(window.read::<u32>(0), Ok(0));
    assert!(window.read::<u32>(4).is_err());
    assert_eq!(window.read::<u16>(4), Ok(0));
}

/// Where the region of [`file`] lies.
const REGION: u64 = 0x1000;

/// Returns a device whose region is full of 4.
fn file() -> File {
    File::new(REGION, &[4; 64])
}

#[test]
fn a_trapped_access_that_fails_is_an_error() {
    let file = file();
    let device = file.device();
    let mut window = Window::new(TrappedRegion::new(&device, REGION, 64));
    assert_eq!(window.read::<u32>(4), Ok(0x0404_0404));
    window.write::<u16>(8, 0x1234).unwrap();
    assert_eq!(file.bytes.borrow()[7..11], [4, 0x34, 0x12, 4]);

    file.limit.set(Ok(2));
    let short = TrapError::Short { offset: 4, done: 2 };
    assert_eq!(window.read::<u32>(4), Err(RegisterError::Access(short)));
    file.limit.set(Err(Errno::EIO));
    let failed = TrapError::Errno {
        offset: 8,
        errno: Errno::EIO,
    };
    assert_eq!(
        window.write::<u64>(8, 0),
        Err(RegisterError::Access(failed))
    );
}

#[test]
fn a_block_finds_its_registers_wherever_it_is_moved() {
    let file = file();
    let device = file.device();
    let window = Window::new(TrappedRegion::new(&device, REGION, 64));
    let mut trapped = std::boxed::Box::new(window.into_block::<Registers>(0x20).unwrap());
    trapped.write(Registers::data, 0x1234).unwrap();
    assert_eq!(file.bytes.borrow()[0x23..0x27], [4, 0x34, 0x12, 4]);

    let mut bar = Bar([0; 64]);
    bar.0[0x26] = 9;
    let window = bar.window();
    let mut mapped = std::boxed::Box::new(window.into_block::<Registers>(0x20).unwrap());
    assert_eq!(mapped.read(Registers::status), Ok(9));
    mapped.write(Registers::command, 7).unwrap();
    drop(mapped);
    assert_eq!(bar.0[0x27], 7);
}

#[test]
fn windows_go_to_other_threads() {
    fn sent<T: Send + Sync>() {}
    sent::<Window<Mapped<'static>>>();
    let mut bar = Bar([0; 64]);
    let window = bar.window();
    let mut window = std::thread::scope(|scope| {
        let other = scope.spawn(move || {
            let mut window = window;
            window.write::<u32>(0, 5).unwrap();
            window
        });
        other.join().unwrap()
    });
    assert_eq!(window.read::<u32>(0), Ok(5));
}

#[test]
fn the_len_of_a_trapped_window_is_that_of_its_stretch() {
    let file = file();
    let device = file.device();
    let lens: Vec<_> = [0, 1, 64]
        .into_iter()
        .map(|len| TrappedRegion::new(&device, 0, len).len())
        .collect();
    assert_eq!(lens, [0, 1, 64]);
}

#[test]
fn an_array_has_its_structures_and_no_more() {
    let mut bar = Bar([0; 64]);
    {
        let window = bar.window();
        let mut array = window.into_array::<Registers>(16, 3).unwrap();
        assert_eq!(array.len(), 3);
        for index in 0..3 {
            let mut block = array.block(index).unwrap();
            block.write(Registers::data, 0x1100).unwrap();
        }
        assert!(array.block(3).is_none());
        assert!(array.block(usize::MAX).is_none());
    }
    assert_eq!((bar.0[21], bar.0[37], bar.0[53]), (0x11, 0x11, 0x11));
    let array = |offset, len| {
        let mut bar = Bar([0; 64]);
        let window = bar.window();
        window.into_array::<Registers>(offset, len).map(drop)
    };
    assert_eq!(array(0, 4), Ok(()));
    assert_eq!(array(64, 0), Ok(()));
    assert!(array(0, 5).is_err());
    assert!(array(8, 4).is_err());
    assert!(array(4, 1).is_err());
    assert!(array(16, usize::MAX / 8).is_err());
}

#[test]
fn bytes_are_read_and_written_at_any_offset() {
    for offset in 0..16 {
        for len in [0, 1, 7, 8, 9, 23, 40] {
            let mut bar = Bar([0xee; 64]);
            let bytes: Vec<u8> = (0..len).collect();
            let mut back = bytes.clone();
            back.fill(0);
            {
                let mut window = bar.window();
                window.write_bytes(offset, &bytes).unwrap();
                window.read_bytes(offset, &mut back).unwrap();
            }
            assert_eq!(back, bytes);
            let end = offset + bytes.len();
            assert_eq!(bar.0[offset..end], bytes);
            assert!(bar.0[..offset].iter().all(|byte| *byte == 0xee));
            assert!(bar.0[end..].iter().all(|byte| *byte == 0xee));
        }
    }
    let mut bar = Bar([0; 64]);
    let mut window = bar.window();
    assert!(window.read_bytes(60, &mut [0; 5]).is_err());
    assert!(window.write_bytes(usize::MAX, &[0; 2]).is_err());
}

#[test]
fn a_part_is_a_window_of_its_own() {
    let mut bar = Bar([0; 64]);
    {
        let mut window = bar.window();
        assert!(window.part(4, 8).is_err());
        assert!(window.part(8, 57).is_err());
        assert!(window.part(usize::MAX - 7, 8).is_err());
        let mut part = window.part(8, 20).unwrap();
        assert_eq!(part.len(), 20);
        part.write::<u32>(16, 0x0403_0201).unwrap();
        assert!(part.write::<u64>(16, 0).is_err());
        assert!(part.write::<u32>(20, 0).is_err());
    }
    assert_eq!(bar.0[24..32], [1, 2, 3, 4, 0, 0, 0, 0]);
}

#[test]
fn a_window_permits_no_more_than_its_memory() {
    let read = Protection {
        read: true,
        write: false,
    };
    let mut bar = Bar([5; 64]);
    let base = NonNull::from(&mut bar.0).cast();
    // SAFETY: the memory outlives the mapping, and nothing else reaches it meanwhile.
    let mapped = unsafe { Mapped::new(base, 64, read) };
    let refused = Window::<_, super::CanReadWrite>::with_permission(&mapped);
    assert_eq!(refused.unwrap_err(), NotPermitted { permitted: read });
    assert!(Window::<_, super::CanWrite>::with_permission(&mapped).is_err());
    let mut window = Window::<_, super::CanRead>::with_permission(&mapped).unwrap();
    assert_eq!(window.read::<u8>(63), Ok(5));
}

registers! {
    /// What a serial port could have.
    struct Uart: 0x10 {
        0x00 received: ReadOnly<u8>,
        0x00 send: WriteOnly<u8>,
        0x04 lines: [ReadPureWrite<u16>; 3],
    }
}

#[test]
fn registers_in_a_row_are_reached_by_their_index() {
    let mut bar = Bar([0; 64]);
    {
        let mut window = bar.window();
        // It is aligned as its widest register is.
        assert!(window.block::<Uart>(1).is_err());
        let mut uart = window.block::<Uart>(2).unwrap();
        for (index, line) in (0..4).map_while(|n| Some((n, Uart::lines.get(n)?))) {
            uart.write(line, 0x100 + u16::try_from(index).unwrap())
                .unwrap();
        }
        assert_eq!(
            Uart::lines.get(1).map(|line| uart.get(line)),
            Some(Ok(0x101))
        );
        assert!(Uart::lines.get(3).is_none());
        assert!(Uart::lines.get(usize::MAX).is_none());
    }
    assert_eq!(bar.0[5..13], [0, 0, 1, 1, 1, 2, 1, 0]);
}

#[test]
fn one_register_is_read_where_another_one_is_written() {
    let mut bar = Bar([0; 64]);
    bar.0[0] = 5;
    {
        let mut window = bar.window();
        let mut uart = window.block::<Uart>(0).unwrap();
        let byte = uart.read(Uart::received).unwrap();
        uart.write(Uart::send, byte + 1).unwrap();
    }
    assert_eq!(bar.0[0], 6);
    assert_eq!(Uart::send.offset(), 0);
}

#[test]
fn blocks_are_copied_whole_and_nothing_beside_them() {
    #[repr(align(4096))]
    struct Page([u8; 4096]);
    let bytes: Vec<u8> = (0..=250).cycle().take(4096).collect();
    for offset in (0..9).chain([1000]) {
        for len in [127, 128, 129, 1500, 2048, 3096] {
            let mut page = Page([0xee; 4096]);
            let base = NonNull::from(&mut page.0).cast();
            // SAFETY: the memory is borrowed for as long as the window lives.
            let memory = unsafe { SharedMemory::new(base, 4096) };
            let mut back = std::vec![0; len];
            let mut window = Window::new(&memory);
            window.write_bytes(offset, &bytes[..len]).unwrap();
            window.read_bytes(offset, &mut back).unwrap();
            assert_eq!(back, bytes[..len]);
            // A part copies from its own start on.
            let mut part = window.part(8, 4088).unwrap();
            part.read_bytes(offset, &mut back[..len - 8]).unwrap();
            assert_eq!(back[..len - 8], bytes[8..len]);
            let end = offset + len;
            assert_eq!(page.0[offset..end], bytes[..len]);
            assert!(page.0[..offset].iter().all(|byte| *byte == 0xee));
            assert!(page.0[end..].iter().all(|byte| *byte == 0xee));
        }
    }
}

#[test]
fn bytes_of_a_device_take_accesses_of_their_natural_alignment() {
    let file = file();
    let device = file.device();
    let mut window = Window::new(TrappedRegion::new(&device, REGION, 64));
    let bytes: Vec<u8> = (0..40).collect();
    let mut back = bytes.clone();
    back.fill(0);
    // Each access is one transfer, of which the file makes none of more than 8 bytes.
    window.write_bytes(3, &bytes).unwrap();
    window.read_bytes(3, &mut back).unwrap();
    assert_eq!(back, bytes);
    assert_eq!(
        file.bytes.borrow()[2..44],
        [&[4], &bytes[..], &[4]].concat()
    );
    file.limit.set(Ok(4));
    let short = TrapError::Short { offset: 8, done: 4 };
    let cut = window.read_bytes(3, &mut back);
    assert_eq!(cut, Err(RegisterError::Access(short)));
}

#[test]
fn memory_is_read_and_written_without_a_copy() {
    let mut bar = Bar([0; 64]);
    let mut window = bar.window();
    window.write::<u32>(8, 0x0403_0201).unwrap();
    let mut part = window.part(8, 16).unwrap();
    // SAFETY: no other window is used, and no device has the memory.
    let slice = unsafe { part.as_mut_slice() };
    assert_eq!(slice, [1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    slice[4..8].fill(5);
    assert_eq!(window.read::<u64>(8), Ok(0x0505_0505_0403_0201));
    // SAFETY: as above.
    assert_eq!(unsafe { window.as_slice() }[12..17], [5, 5, 5, 5, 0]);
}

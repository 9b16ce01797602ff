//! Exceptions: each ends the image with one frame that says what happened.
//!
//! The processor's tables are here, too: segments, the stacks that handlers run on, and the
//! gates. Handlers have stacks of their own, so that one that interrupts code that is out of stack
//! works, and because the compiler's `core` uses the red zone below the stack pointer.

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering};

use x86_64::VirtAddr;
use x86_64::instructions::tables::{lidt, load_tss};
use x86_64::registers::control::Cr2;
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::SegmentSelector;

use crate::paging::address_of;

/// Vectors below are the processor's exceptions.
pub(crate) const EXCEPTIONS: usize = 32;
/// How many vectors have gates.
pub(crate) const VECTORS: usize = 50;

/// The selectors of code and of the task state.
const CODE: u64 = 0x08;
const TASK: u16 = 0x18;

/// A present gate that turns interrupts off.
const INTERRUPT_GATE: u64 = 0x8e00 << 32;

/// Bytes of a handler's stack.
const STACK: usize = 0x1000;

/// Segments: none, code, data, and the task state in two halves.
static GDT: [AtomicU64; 5] = [
    AtomicU64::new(0),
    AtomicU64::new(0x00af_9b00_0000_ffff),
    AtomicU64::new(0x00cf_9300_0000_ffff),
    AtomicU64::new(0),
    AtomicU64::new(0),
];

/// What `lgdt` takes, in 32-bit mode as well.
#[repr(C, packed)]
pub(crate) struct GdtPointer {
    limit: u16,
    base: *const [AtomicU64; 5],
}

// SAFETY: it is only ever read.
unsafe impl Sync for GdtPointer {}

/// Where the segments are.
pub(crate) static GDT_POINTER: GdtPointer = GdtPointer {
    limit: 5 * 8 - 1,
    base: &raw const GDT,
};

/// The task state: which stacks handlers have (Intel SDM, volume 3, section 8.7).
#[repr(C, align(16))]
struct Task {
    /// So that the 64-bit fields, which start at 4, are aligned.
    _align: u32,
    _reserved: u32,
    rsp: [AtomicU64; 3],
    _reserved_1c: u64,
    ist: [AtomicU64; 7],
    _reserved_5c: u64,
    /// Where the I/O permission map is, which is not looked at: nothing but ring 0 runs.
    _iomap: u32,
}

static TASK_STATE: Task = Task {
    _align: 0,
    _reserved: 0,
    rsp: [const { AtomicU64::new(0) }; 3],
    _reserved_1c: 0,
    ist: [const { AtomicU64::new(0) }; 7],
    _reserved_5c: 0,
    _iomap: 0,
};

/// A gate, in two halves.
static GATES: [[AtomicU64; 2]; VECTORS] = [const { [const { AtomicU64::new(0) }; 2] }; VECTORS];

/// A stack of a handler.
#[repr(C, align(16))]
struct Stack([AtomicU64; STACK / 8]);

/// The stacks of exceptions, of the exceptions in those, and of interrupts.
#[unsafe(link_section = ".uninit.stacks")]
static STACKS: [Stack; 3] = [const { Stack([const { AtomicU64::new(0) }; STACK / 8]) }; 3];

/// Which of the stacks a gate takes, from 1 on.
const OF_EXCEPTIONS: u64 = 1;
const OF_FAULTS_IN_HANDLERS: u64 = 2;
const OF_INTERRUPTS: u64 = 3;

/// What the stub leaves on the stack.
#[repr(C)]
struct Frame {
    vector: u64,
    error: u64,
    rip: u64,
    _cs: u64,
    _rflags: u64,
    rsp: u64,
}

global_asm!(
    // Stubs, 4 bytes each: a jump that short ends right behind the last of them.
    ".pushsection .text.stubs, \"ax\", @progbits",
    ".set vector, 0",
    ".global vfio_exception_stubs",
    "vfio_exception_stubs:",
    ".rept 32",
    ".byte 0x6a, vector, 0xeb, 2f - . - 1",
    ".set vector, vector + 1",
    ".endr",
    "2:",
    // For some the processor has pushed an error code before: the others get one.
    "mov ecx, [rsp]",
    "mov eax, 0x60227d00",
    "bt eax, ecx",
    "jc 4f",
    "push rcx",
    "mov qword ptr [rsp + 8], 0",
    "4:",
    "mov rdi, rsp",
    "and rsp, -16",
    "cld",
    "call {on_exception}",
    "ud2",
    ".global vfio_interrupt_stubs",
    "vfio_interrupt_stubs:",
    ".rept 18",
    ".byte 0x6a, vector, 0xeb, 3f - . - 1",
    ".set vector, vector + 1",
    ".endr",
    "3:",
    "push rax",
    "push rcx",
    "push rdx",
    "push rsi",
    "push rdi",
    "push r8",
    "push r9",
    "push r10",
    "push r11",
    "mov rdi, [rsp + 72]",
    "sub rsp, 520",
    "fxsave64 [rsp]",
    "cld",
    "call {on_interrupt}",
    "fxrstor64 [rsp]",
    "add rsp, 520",
    "pop r11",
    "pop r10",
    "pop r9",
    "pop r8",
    "pop rdi",
    "pop rsi",
    "pop rdx",
    "pop rcx",
    "pop rax",
    "add rsp, 8",
    "iretq",
    ".popsection",
    on_exception = sym on_exception,
    on_interrupt = sym crate::interrupts::on_interrupt,
);

unsafe extern "C" {
    static vfio_exception_stubs: u8;
    static vfio_interrupt_stubs: u8;
}

/// Loads the tables. Until then an exception resets the machine.
pub(crate) fn load() {
    let task = address_of(&raw const TASK_STATE).saturating_add(4);
    let stacks = address_of(&raw const STACKS);
    for (slot, end) in TASK_STATE.ist.iter().zip(1_u64..).take(STACKS.len()) {
        let top = stacks.saturating_add(end.saturating_mul(crate::wide(STACK)));
        slot.store(top, Ordering::Relaxed);
    }
    let [.., low, _] = &GDT;
    // An available task state of 0x68 bytes. Its upper half, and that of gates, is 0: the image ends below 2 MiB.
    let descriptor = 0x67 | (task & 0xff_ffff) << 16 | 0x89 << 40;
    low.store(descriptor, Ordering::Relaxed);

    let mut stub = address_of(&raw const vfio_exception_stubs);
    for (vector, [low, _]) in GATES.iter().enumerate() {
        if vector == EXCEPTIONS {
            stub = address_of(&raw const vfio_interrupt_stubs);
        }
        let stack = match vector {
            // NMI, double fault, machine check.
            2 | 8 | 18 => OF_FAULTS_IN_HANDLERS,
            _ if vector < EXCEPTIONS => OF_EXCEPTIONS,
            _ => OF_INTERRUPTS,
        };
        let gate = stub & 0xffff | CODE << 16 | stack << 32 | INTERRUPT_GATE;
        low.store(gate | (stub >> 16 & 0xffff) << 48, Ordering::Relaxed);
        stub = stub.saturating_add(4);
    }
    let gates = DescriptorTablePointer {
        limit: GATES_LIMIT,
        base: VirtAddr::new_truncate(address_of(&raw const GATES)),
    };
    // SAFETY: the gates lead to the stubs, which keep to what the processor expects.
    unsafe { lidt(&gates) };
    // SAFETY: the selector is that of the task state, which stays where it is.
    unsafe { load_tss(SegmentSelector(TASK)) };
}

/// The last byte of the gates.
const GATES_LIMIT: u16 = 50 * 16 - 1;

const _: () = assert!(VECTORS == 50);

/// Ends the image.
extern "C" fn on_exception(frame: &Frame) -> ! {
    crate::log::abandon();
    let name = usize::try_from(frame.vector).ok();
    let name = name.and_then(|vector| NAMES.get(vector).copied());
    let name = name.unwrap_or(Name::Other);
    defmt::error!(
        "exception {=u64} ({}): error code {=u64:#x} at rip {=u64:#x}, cr2 {=u64:#x}, rsp {=u64:#x}",
        frame.vector,
        name,
        frame.error,
        frame.rip,
        Cr2::read_raw(),
        frame.rsp,
    );
    crate::exit::exit(crate::exit::Status::Failure)
}

/// What an exception is called (Intel SDM, volume 3, section 6.15).
#[derive(Clone, Copy, defmt::Format)]
enum Name {
    DivideError,
    NonMaskableInterrupt,
    Breakpoint,
    InvalidOpcode,
    DeviceNotAvailable,
    DoubleFault,
    InvalidTaskState,
    SegmentNotPresent,
    StackFault,
    GeneralProtection,
    PageFault,
    FloatingPoint,
    AlignmentCheck,
    MachineCheck,
    SimdFloatingPoint,
    Other,
}

/// The names, by vector.
static NAMES: [Name; 20] = {
    use Name::*;
    [
        DivideError,
        Other,
        NonMaskableInterrupt,
        Breakpoint,
        Other,
        Other,
        InvalidOpcode,
        DeviceNotAvailable,
        DoubleFault,
        Other,
        InvalidTaskState,
        SegmentNotPresent,
        StackFault,
        GeneralProtection,
        PageFault,
        Other,
        FloatingPoint,
        AlignmentCheck,
        MachineCheck,
        SimdFloatingPoint,
    ]
};

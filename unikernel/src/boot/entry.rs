//! From the hypervisor's jump to the first line of Rust.
//!
//! The PVH protocol (Xen, docs/misc/pvh.pandoc) starts an image in 32-bit protected mode with flat
//! segments, without paging, and with the address of `hvm_start_info` in `ebx`. Here long mode is
//! entered on page tables that map the first 2 MiB, page by page, where they are, but for the one
//! below the stack. The processor must know pages that are not executed, as all but the first of
//! 64 bits do.

use core::arch::global_asm;

global_asm!(
    // XEN_ELFNOTE_PHYS32_ENTRY (18): where to start.
    ".pushsection .note.Xen, \"a\", @note",
    ".balign 4",
    ".long 4, 8, 18",
    ".asciz \"Xen\"",
    ".quad pvh_start",
    ".popsection",
    //
    ".pushsection .text.boot, \"ax\", @progbits",
    ".code32",
    ".global pvh_start",
    "pvh_start:",
    "cli",
    "cld",
    "mov esp, offset __stack_top",
    // Nothing is promised of the memory that the file does not fill.
    "xor eax, eax",
    "mov edi, offset __bss_start",
    "mov ecx, offset __bss_end",
    "sub ecx, edi",
    "shr ecx, 2",
    "rep stosd",
    // The top level, then the tables below it, each the next page. The last is filled whole.
    "mov edi, offset {tables}",
    "mov cr3, edi",
    "mov ecx, 3 * 1024",
    "rep stosd",
    "lea eax, [edi - 0x2000 + 3]",
    "mov [edi - 0x3000], eax",
    "add eax, 0x1000",
    "mov [edi - 0x2000], eax",
    "add eax, 0x1000",
    "mov [edi - 0x1000], eax",
    // Present, writable, not executed.
    "mov eax, 3",
    "mov edx, 0x80000000",
    "mov ecx, 64",
    "2:",
    ".irp at, 0, 8, 16, 24, 32, 40, 48, 56",
    "mov [edi + \\at], eax",
    "mov [edi + \\at + 4], edx",
    "add eax, 0x1000",
    ".endr",
    "add edi, 64",
    "dec ecx",
    "jnz 2b",
    "mov eax, offset __stack_guard",
    "shr eax, 9",
    "mov dword ptr [edi + eax - 0x1000], 0",
    // But code is executed.
    "mov eax, offset __image_start",
    "mov ecx, offset __rodata_start",
    "sub ecx, eax",
    "shr ecx, 12",
    "shr eax, 9",
    "3:",
    "mov dword ptr [edi + eax - 0x1000 + 4], 0",
    "add eax, 8",
    "dec ecx",
    "jnz 3b",
    // PAE, OSFXSR and OSXMMEXCPT: the compiler uses SSE from the first line on.
    "mov eax, 0x620",
    "mov cr4, eax",
    // EFER: LME and NXE.
    "mov ecx, 0xc0000080",
    "rdmsr",
    "or eax, 0x900",
    "wrmsr",
    // PG, WP, NE, ET, MP, PE; and neither EM nor TS.
    "mov eax, 0x80010033",
    "mov cr0, eax",
    "lgdt [{pointer}]",
    "push 0x08",
    "mov eax, offset pvh_long_mode",
    "push eax",
    "retf",
    ".code64",
    "pvh_long_mode:",
    "mov eax, 0x10",
    "mov ds, eax",
    "mov es, eax",
    "mov ss, eax",
    "mov rsp, offset __stack_top",
    "xor ebp, ebp",
    "mov edi, ebx",
    "call {start}",
    "ud2",
    ".popsection",
    tables = sym crate::paging::TABLES,
    pointer = sym crate::exceptions::GDT_POINTER,
    start = sym super::start,
);

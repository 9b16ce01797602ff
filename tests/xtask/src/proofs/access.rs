//! Whether the machine code of a register access is that of a bare volatile one.

use std::fmt;

use anyhow::{Result, ensure};
use iced_x86::{Decoder, DecoderOptions, FastFormatter, Instruction, Mnemonic};

use super::image::Image;

/// The accesses of each kind, as they end the names of functions.
const ACCESSES: [&str; 8] = [
    "read_u8",
    "read_u16",
    "read_u32",
    "read_u64",
    "write_u8",
    "write_u16",
    "write_u32",
    "write_u64",
];

/// How many compares more than a bare access one at an offset known at run time may cost.
const MAX_COMPARES: usize = 2;

/// Compares the accesses in the program `register-access`.
///
/// # Errors
///
/// An access costs more than it may, or one that does is not seen.
pub(crate) fn check(image: &Image) -> Result<()> {
    let code = |way: &str, access: &str| Code::of(image, &format!("{way}_{access}"));
    for access in ACCESSES {
        let (mapped, bare) = (code("mapped", access)?, code("bare", access)?);
        ensure!(
            mapped.bytes == bare.bytes,
            "not the code of a bare access:\n{mapped}{bare}"
        );
        ensure!(
            matches!(
                mapped.mnemonics().as_slice(),
                [Mnemonic::Mov | Mnemonic::Movzx, Mnemonic::Ret]
            ),
            "not one instruction:\n{mapped}"
        );
        let detour = code("detour", access)?;
        ensure!(
            detour.bytes != bare.bytes,
            "an instruction too many is not seen:\n{detour}"
        );

        let (held, bare) = (code("held", access)?, code("held_bare", access)?);
        ensure!(
            held.is_as(&bare),
            "not the code of a bare access:\n{held}{bare}"
        );

        let (checked, bare) = (code("checked", access)?, code("checked_bare", access)?);
        let most = bare.compares() + MAX_COMPARES;
        ensure!(
            checked.compares() <= most && !checked.calls(),
            "more than {MAX_COMPARES} compares:\n{checked}{bare}"
        );
        let detour = code("checked_detour", access)?;
        ensure!(
            detour.compares() > most,
            "a compare too many is not seen:\n{detour}"
        );
    }
    print(&code("mapped", "read_u32")?, "a mapped read, as a bare one");
    print(&code("held", "read_u32")?, "a driver's, as a bare one");
    print(&code("checked", "read_u32")?, "at an offset of run time");
    println!("{} accesses, each in three ways", ACCESSES.len());
    Ok(())
}

fn print(code: &Code, what: &str) {
    println!("{what}:\n{code}");
}

/// The instructions of a function.
struct Code {
    name: String,
    bytes: Vec<u8>,
    instructions: Vec<Instruction>,
}

impl Code {
    fn of(image: &Image, name: &str) -> Result<Self> {
        let bytes = image.function(name)?;
        let instructions: Vec<_> = Decoder::new(64, &bytes, DecoderOptions::NONE)
            .into_iter()
            .collect();
        ensure!(
            instructions.iter().all(|one| !one.is_invalid()),
            "{name} has no code that can be read"
        );
        Ok(Self {
            name: name.into(),
            bytes,
            instructions,
        })
    }

    fn mnemonics(&self) -> Vec<Mnemonic> {
        self.instructions
            .iter()
            .map(Instruction::mnemonic)
            .collect()
    }

    /// Tells whether it is the code of `other`, but for how its first instruction finds the registers.
    fn is_as(&self, other: &Self) -> bool {
        let without_first = |code: &Self| {
            let mut instructions = code.instructions.clone();
            if let Some(first) = instructions.first_mut() {
                first.set_memory_displacement64(0);
                first.set_memory_displ_size(0);
            }
            instructions
        };
        without_first(self) == without_first(other)
    }

    /// Returns how many instructions compare, or how many decide if these are more: on any path no more
    /// than that.
    fn compares(&self) -> usize {
        let compare = |one: &&Instruction| {
            matches!(
                one.mnemonic(),
                Mnemonic::Cmp | Mnemonic::Test | Mnemonic::Bt
            )
        };
        let jump = |one: &&Instruction| one.code().is_jcc_short_or_near();
        let compares = self.instructions.iter().filter(compare).count();
        compares.max(self.instructions.iter().filter(jump).count())
    }

    fn calls(&self) -> bool {
        self.instructions
            .iter()
            .any(|one| one.mnemonic() == Mnemonic::Call)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}:", self.name)?;
        let mut formatter = FastFormatter::new();
        self.instructions.iter().try_for_each(|one| {
            let mut text = String::new();
            formatter.format(one, &mut text);
            writeln!(f, "    {text}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(bytes: &[u8]) -> Code {
        Code {
            name: String::new(),
            bytes: bytes.into(),
            instructions: Decoder::new(64, bytes, DecoderOptions::NONE)
                .into_iter()
                .collect(),
        }
    }

    #[test]
    fn only_the_first_place_may_differ() {
        // mov rax, [rdi + 8]; mov eax, [rax + 4]; ret
        let bare = code(&[0x48, 0x8b, 0x47, 8, 0x8b, 0x40, 4, 0xc3]);
        let far = code(&[0x48, 0x8b, 0x87, 0, 1, 0, 0, 0x8b, 0x40, 4, 0xc3]);
        let other = code(&[0x48, 0x8b, 0x47, 8, 0x8b, 0x40, 8, 0xc3]);
        let register = code(&[0x48, 0x8b, 0x4f, 8, 0x8b, 0x40, 4, 0xc3]);
        assert!(far.is_as(&bare));
        assert!(!other.is_as(&bare));
        assert!(!register.is_as(&bare));
    }

    #[test]
    fn compares_are_counted() {
        // cmp rsi, rax; jae +1; ret; test al, al; ret
        let checked = code(&[0x48, 0x39, 0xc6, 0x73, 1, 0xc3, 0x84, 0xc0, 0xc3]);
        assert_eq!(checked.compares(), 2);
        assert!(!checked.calls());
        assert!(code(&[0xe8, 0, 0, 0, 0]).calls());
    }
}

//! Whether a read of a mapped register is one instruction in an image.

use anyhow::{Result, bail};
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, Register};

use super::image::Image;
use crate::proofs;

/// The function that reads a register and nothing else.
const FUNCTION: &str = "mapped_register_read";

/// Makes sure that the function in `image` loads where the register is, reads it, and returns.
///
/// # Errors
///
/// It does more.
pub(crate) fn check(image: &Image) -> Result<()> {
    let bytes = proofs::image::Image::read(&image.whole)?.function(FUNCTION)?;
    let code: Vec<Instruction> = Decoder::new(64, &bytes, DecoderOptions::NONE)
        .into_iter()
        .collect();
    for instruction in &code {
        println!("    {instruction}");
    }
    let [place @ .., read, end] = code.as_slice() else {
        bail!("{FUNCTION} has no code that reads");
    };
    // What is loaded from the function's argument is the place.
    let is_place =
        |one: &Instruction| one.mnemonic() == Mnemonic::Mov && one.memory_base() == Register::RDI;
    let is_read = read.mnemonic() == Mnemonic::Mov
        && read.op0_register() == Register::EAX
        && read.memory_base() != Register::RDI;
    if place.iter().all(is_place) && is_read && end.mnemonic() == Mnemonic::Ret {
        Ok(())
    } else {
        bail!("{FUNCTION} does more than to read")
    }
}

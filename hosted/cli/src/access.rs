//! `vfio read` and `vfio write`: one register.

use std::io::Write as _;
use std::process::ExitCode;

use serde::Serialize;
use vfio_core::device::Device;
use vfio_core::device::region::TrappedRegion;
use vfio_core::mmio::{RegisterError, TrapError, Window};
use vfio_core::sys::Sys;
use vfio_hosted::report::RegionReport;

use crate::access_error::AccessError;
use crate::failure::Failure;
use crate::region::{Intent, Named, Selector, Width};
use crate::target::{Opened, Target, Task, World};
use crate::{number, output};

/// Read a register.
///
/// It is read by a system call, as one access of its width. Opening the device resets it, if the kernel can, so that
/// what is read is the state after a reset.
#[derive(clap::Args)]
pub(crate) struct ReadArgs {
    #[command(flatten)]
    register: Register,
}

/// Write a register.
///
/// It is written by a system call, as one access of its width. The kernel restores configuration space, and resets the
/// device if it can, when the command ends.
#[derive(clap::Args)]
pub(crate) struct WriteArgs {
    #[command(flatten)]
    register: Register,

    /// What to write, decimal or hexadecimal (0x...).
    #[arg(value_parser = number::parse)]
    value: u64,
}

/// The register that is meant.
#[derive(clap::Args)]
pub(crate) struct Register {
    /// The PCI address (0000:00:05.0 or 00:05.0), unix:SOCKET for a served device, or sim:MODEL for
    /// a simulated one.
    pub(crate) device: Target,

    /// The region, by index or name: bar0 to bar5, rom, config, vga, or the name of its type.
    pub(crate) region: Selector,

    /// Bytes from the start of the region, decimal or hexadecimal (0x...).
    #[arg(value_parser = number::parse)]
    pub(crate) offset: u64,

    /// The width of the access in bits.
    #[arg(long, value_enum, default_value = "32")]
    pub(crate) width: Width,

    /// Have the device answer on the memory of its BARs, where it does not, while the command runs.
    #[arg(long)]
    pub(crate) enable_memory: bool,
}

/// A register of an open device.
pub(crate) struct Reached<'o, S: Sys> {
    region: RegionReport,
    window: Window<TrappedRegion<&'o Device<S>>>,
    offset: u64,
    width: Width,
}

/// What was read or written, as JSON.
#[derive(Serialize)]
struct Record<'r> {
    device: &'r str,
    region: Named<'r>,
    offset: u64,
    width: u8,
    value: u64,
    hex: String,
}

struct Read<'a>(&'a ReadArgs);

struct Write<'a>(&'a WriteArgs);

pub(crate) fn read(args: &ReadArgs, world: &World) -> Result<ExitCode, Failure> {
    args.register.device.open(world, Read(args))?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn write(args: &WriteArgs, world: &World) -> Result<ExitCode, Failure> {
    let width = args.register.width;
    if !width.holds(args.value) {
        return Err(AccessError::TooWide {
            value: args.value,
            width,
        }
        .into());
    }
    args.register.device.open(world, Write(args))?;
    Ok(ExitCode::SUCCESS)
}

impl Register {
    /// Returns the register of a device, ready for what is intended. Where that is refused, the device stays as
    /// it was.
    pub(crate) fn reach<'o, S: Sys + Clone>(
        &self,
        opened: &'o Opened<S>,
        intent: Intent,
    ) -> Result<Reached<'o, S>, Failure> {
        let region = opened.region(&self.region, intent)?;
        let reached = Reached {
            window: opened.window(&region),
            region,
            offset: self.offset,
            width: self.width,
        };
        let checked = self.width.check(&reached.window, self.offset);
        checked.map_err(|error| reached.failed(RegisterError::Offset(error)))?;
        if self.enable_memory {
            opened.enable_memory()?;
        }
        Ok(reached)
    }
}

impl<S: Sys> Reached<'_, S> {
    /// Its value.
    pub(crate) fn read(&mut self) -> Result<u64, AccessError> {
        self.width
            .read(&mut self.window, self.offset)
            .map_err(|error| self.failed(error))
    }

    /// Writes the low bits of `value`.
    pub(crate) fn write(&mut self, value: u64) -> Result<(), AccessError> {
        self.width
            .write(&mut self.window, self.offset, value)
            .map_err(|error| self.failed(error))
    }

    fn failed(&self, error: RegisterError<TrapError>) -> AccessError {
        AccessError::Register {
            region: self.region.name.clone(),
            error,
        }
    }
}

impl Task for Read<'_> {
    type Output = ();

    fn run<S: Sys + Clone>(self, opened: Opened<S>) -> Result<(), Failure> {
        let mut register = self.0.register.reach(&opened, Intent::Read)?;
        let value = register.read()?;
        let hex = register.width.hex(value);
        if opened.json {
            return output::json(&Record {
                device: &opened.name,
                region: Named::from(&register.region),
                offset: register.offset,
                width: register.width.bits(),
                value,
                hex,
            });
        }
        let mut out = output::stdout();
        writeln!(out, "{hex}")?;
        out.flush()?;
        Ok(())
    }
}

impl Task for Write<'_> {
    type Output = ();

    fn run<S: Sys + Clone>(self, opened: Opened<S>) -> Result<(), Failure> {
        let mut register = self.0.register.reach(&opened, Intent::Write)?;
        register.write(self.0.value)?;
        if opened.json {
            return output::json(&Record {
                device: &opened.name,
                region: Named::from(&register.region),
                offset: register.offset,
                width: register.width.bits(),
                value: self.0.value,
                hex: register.width.hex(self.0.value),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use vfio_core::pci::{Command, Config, DeviceConfig};
    use vfio_hosted::model;

    use super::*;
    use crate::target::simulate;

    /// Returns a device that decodes no memory.
    pub(crate) fn decoding_off() -> Opened<vfio_hosted::sim::Kernel> {
        let Ok(opened) = simulate::<Read<'_>>(model::edu(), None) else {
            panic!("the device does not open");
        };
        let config = DeviceConfig::ask(&opened.session.device, &mut [0; 64][..]).unwrap();
        let mut config = Config::new(config);
        config.set_command(Command::empty()).unwrap();
        opened
    }

    /// Tells whether `act` is refused for its offset and changes nothing, on a device that decodes no memory.
    fn refused(act: impl FnOnce(Opened<vfio_hosted::sim::Kernel>) -> Result<(), Failure>) -> bool {
        let opened = decoding_off();
        let kernel = opened.sys.clone();
        let before = kernel.calls().pwrite;
        let ended = act(opened);
        let offset = matches!(
            ended,
            Err(Failure::Access(AccessError::Register {
                error: RegisterError::Offset(_),
                ..
            }))
        );
        offset && kernel.calls().pwrite == before
    }

    #[test]
    fn an_offset_that_is_refused_leaves_the_device_as_it_is() {
        for (offset, width) in [
            (1 << 20, Width::Bits8),
            (u64::MAX, Width::Bits8),
            (2, Width::Bits32),
            ((1 << 20) - 4, Width::Bits64),
        ] {
            let register = || Register {
                offset,
                width,
                ..args(true).register
            };
            let (read, write) = (
                ReadArgs {
                    register: register(),
                },
                WriteArgs {
                    register: register(),
                    value: 0,
                },
            );
            assert!(refused(|opened| Read(&read).run(opened)), "{offset:#x}");
            assert!(refused(|opened| Write(&write).run(opened)), "{offset:#x}");
        }
    }

    fn args(enable_memory: bool) -> WriteArgs {
        WriteArgs {
            register: Register {
                device: Target::Simulated("edu"),
                region: Selector::Index(0),
                offset: 0,
                width: Width::Bits32,
                enable_memory,
            },
            value: 0,
        }
    }

    #[test]
    fn a_device_that_decodes_no_memory_can_be_made_to() {
        let failure = Write(&args(false)).run(decoding_off()).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "BAR0: the register at 0x0 can't be reached: input/output error (EIO)"
        );
        assert!(failure.way_out().contains("--enable-memory"));
        assert!(Write(&args(true)).run(decoding_off()).is_ok());
    }
}

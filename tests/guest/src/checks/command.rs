//! The program `vfio`, as a user runs it.

use anyhow::{Result, ensure};

use crate::program;
use crate::world::World;

/// The program starts, says what it is, and ends well.
pub(crate) fn vfio(_: &World) -> Result<String> {
    let ended = program::run("/bin/vfio", &["--version"])?;
    ensure!(
        ended.status == Some(0),
        "exit status {:?}, and on stderr: {}",
        ended.status,
        ended.stderr.trim()
    );
    Ok(ended.stdout.trim().into())
}

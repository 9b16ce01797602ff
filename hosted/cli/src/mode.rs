//! The ways to a device, as arguments.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use vfio_core::open::Mode;

/// Takes the name of a mode.
pub(crate) fn parser() -> impl TypedValueParser<Value = Mode> {
    PossibleValuesParser::new(Mode::PREFERRED.map(Mode::name))
        .try_map(|name| Mode::by_name(&name).ok_or("there is no such mode"))
}

//! One shim over the `log` and `defmt` facades; without either feature, events cost nothing.
//!
//! Arguments must be formattable by both.

/// An event that whoever runs a driver wants to see.
macro_rules! warn {
    ($text:literal $(, $argument:expr)* $(,)?) => {{
        #[cfg(feature = "log")]
        ::log::warn!($text $(, $argument)*);
        #[cfg(feature = "defmt")]
        ::defmt::warn!($text $(, $argument)*);
        #[cfg(not(any(feature = "log", feature = "defmt")))]
        {
            let _ = ($(&$argument,)*);
        }
    }};
}

/// An event that a developer of a driver wants to see.
macro_rules! debug {
    ($text:literal $(, $argument:expr)* $(,)?) => {{
        #[cfg(feature = "log")]
        ::log::debug!($text $(, $argument)*);
        #[cfg(feature = "defmt")]
        ::defmt::debug!($text $(, $argument)*);
        #[cfg(not(any(feature = "log", feature = "defmt")))]
        {
            let _ = ($(&$argument,)*);
        }
    }};
}

//! What is mapped, and how.

/// A stretch of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Span {
    /// Its start in the file, in bytes: on a page boundary.
    pub offset: u64,
    /// Its length in bytes, not 0. The last page is mapped whole; accesses past `len` are
    /// refused.
    pub len: usize,
}

/// Which pages memory is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Pages {
    /// Ordinary ones.
    #[default]
    Ordinary,
    /// Huge ones of this size in bytes, out of the host's pool: on x86-64 2 MiB or 1 GiB.
    Huge(usize),
}

//! What a request with a structure answers.

/// What a request answers.
pub(in crate::sim) enum Answer {
    /// Nothing: it was done.
    Done,
    /// It was not done: there are only this number of interrupts.
    Only(u32),
    /// It has opened the file with this id.
    Opened(u64),
}

impl Answer {
    /// Returns the number that the call returns.
    pub(in crate::sim) const fn number(self) -> u32 {
        match self {
            // An opened file is handed out by itself.
            Self::Done | Self::Opened(_) => 0,
            Self::Only(available) => available,
        }
    }
}

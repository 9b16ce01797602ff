//! The steps, in the order in which they are made.

steps! {
    /// It starts, and has sectors.
    Start = "start",
    /// It says its name, or that it has none.
    Name = "name",
    /// What is on the sectors that are written is read and kept.
    Keep = "keep",
    /// What was written is read back: sector by sector, and all at once.
    RoundTrip = "round_trip",
    /// Everything that was written is made safe.
    Flush = "flush",
    /// It starts again after a reset, and has what was written.
    Restart = "restart",
    /// What was on the sectors is put back.
    Restore = "restore",
}

//! The steps, in the order in which they are made.

steps! {
    /// The controller starts, and says what it is.
    Start = "start",
    /// It has a namespace that can be used.
    Namespace = "namespace",
    /// What is written is read, at every length up to that of a slot, with PRP lists.
    RoundTrip = "round_trip",
    /// It takes as many commands at a time as the queue has room for.
    Depth = "depth",
    /// It flushes.
    Flush = "flush",
    /// It zeros blocks without zeros being sent.
    WriteZeroes = "write_zeroes",
    /// It deallocates blocks, and leaves the others alone.
    Deallocate = "deallocate",
    /// Two queue pairs work at once.
    Queues = "queues",
    /// An interrupt tells of a completion.
    Interrupt = "interrupt",
    /// A command that fails does so alone, with its status.
    Status = "status",
    /// The error log can be read.
    ErrorLog = "error_log",
    /// A command is aborted, or completes before it is.
    Abort = "abort",
    /// The controller tells of a temperature.
    Event = "event",
    /// The controller stops, and starts again.
    Restart = "restart",
    /// The blocks that were used have again what they had before.
    Restore = "restore",
    /// The controller shuts down.
    ShutDown = "shut_down",
}

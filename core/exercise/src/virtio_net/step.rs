//! The steps, in the order in which they are made.

steps! {
    /// It starts, and has an address that cards may have.
    Start = "start",
    /// It has a link.
    Link = "link",
    /// A frame is sent.
    Send = "send",
    /// A full queue of frames is sent with one notification.
    Batch = "batch",
    /// Something comes: an answer, or in a loop the question.
    Answer = "answer",
    /// Something comes, and an interrupt tells when.
    Interrupt = "interrupt",
    /// The control queue answers.
    Control = "control",
    /// Frames go through every pair of queues.
    Pairs = "pairs",
    /// It starts again after a reset with frames under way, and something comes.
    Restart = "restart",
}

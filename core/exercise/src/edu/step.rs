//! The steps, in the order in which they are made.

steps! {
    /// The identification and the version are those of edu.
    Identify = "identify",
    /// What is written comes back inverted.
    Liveness = "liveness",
    /// It computes factorials, and the status tells when.
    FactorialPolled = "factorial_polled",
    /// Memory for it lies within 28 address lines.
    DmaMask = "dma_mask",
    /// Bytes go to the device and come back, and are compared.
    Dma = "dma",
    /// It raises an interrupt when it is told to.
    Interrupt = "interrupt",
    /// It computes factorials, and an interrupt tells when.
    FactorialInterrupt = "factorial_interrupt",
    /// Bytes come back from the device, and an interrupt tells when.
    DmaInterrupt = "dma_interrupt",
}

//! The project's own tasks. Here they are only told apart; each has a file of its own.

mod bench;
mod fuzz;
mod guest;
mod matrix;
mod mutants;
mod paths;
mod proofs;
mod side_by_side;
mod simulated;
mod soundness;
mod steps;
mod test;
mod tools;
mod unikernel;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's own tasks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Format, lints, tests, documentation, and the tests in guests: everything that a change must pass.
    Test(test::Options),
    /// Prove by linking that the core can't panic and allocates nothing.
    Proofs,
    /// Run tests under valgrind's memcheck and AddressSanitizer.
    Soundness,
    /// Change the parsing half and the allocator of addresses in hundreds of ways, and tell which changes no test notices.
    Mutants(mutants::Options),
    /// Measure what opening a device and parsing its replies takes, against others and against the targets.
    Bench(bench::Options),
    /// Fuzz the reader, the query, the report, config space and the answering side, guided by coverage.
    Fuzz(fuzz::Options),
    /// Boot guests under QEMU and test against their kernels' VFIO.
    ///
    /// QEMU is the one that VFIO_QEMU names, else the system's; where that is older than 8.2, the one in the distribution's backports, unpacked
    /// and not installed.
    Guest(guest::Options),
    /// Boot an image that needs no operating system, and decode its log.
    Unikernel(unikernel::Options),
    /// Build a kernel for the guests, with IOMMUFD and the mediated sample devices, from the distribution's source package.
    GuestKernel(guest::source::Options),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Test(options) => test::run_all(&options),
        Task::Proofs => proofs::run_alone(),
        Task::Soundness => soundness::run_alone(),
        Task::Mutants(options) => mutants::run_all(&options),
        Task::Bench(options) => bench::run_all(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Guest(options) => guest::run(&options),
        Task::Unikernel(options) => unikernel::run(&options),
        Task::GuestKernel(options) => guest::source::build(&options),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}.");
            ExitCode::FAILURE
        }
    }
}

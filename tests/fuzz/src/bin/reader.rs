//! Any bytes as each of the five replies.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vfio_fuzz::reader;

fuzz_target!(|reply: &[u8]| reader::check_all(reply));

//! The fuzzer's entry for `values`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| silversink::targets::values::check(data));

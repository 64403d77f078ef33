//! The fuzzer's entry for `version`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| silversink::targets::version::check(data));

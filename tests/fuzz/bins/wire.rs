//! The fuzzer's entry for `wire`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| silversink::targets::wire::check(data));

//! The fuzzer's entry for `json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| silversink::targets::json::check(data));

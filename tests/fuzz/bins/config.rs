//! The fuzzer's entry for `config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| silversink::targets::config::check(data));

//! The fuzzer's entry for `avro`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| silversink::targets::avro::check(data));

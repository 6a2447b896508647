#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tcs_fuzz_checks::formats::check(data));

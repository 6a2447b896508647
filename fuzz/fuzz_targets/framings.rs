#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tcs_fuzz::framings::check(data));

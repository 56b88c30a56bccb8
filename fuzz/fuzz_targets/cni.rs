#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| petiole_fuzz::cni::cni(data));

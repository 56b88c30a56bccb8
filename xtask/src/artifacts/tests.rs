use super::*;

#[test]
fn a_test_executable_is_dynamic_and_text_is_no_elf() {
    let this = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    assert_eq!(asks_for_interpreter(&this), Some(!cfg!(target_feature = "crt-static")));
    assert_eq!(asks_for_interpreter(b"#!/bin/sh\n"), None);
}

#[test]
fn a_cut_elf_is_refused_without_panic() {
    let this = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    for length in 0..this.len().min(1024) {
        let _ = asks_for_interpreter(&this[..length]);
    }
    assert_eq!(asks_for_interpreter(&this[..63]), None);
}

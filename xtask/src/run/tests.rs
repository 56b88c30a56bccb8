use super::*;

#[test]
fn result_lines_are_summed_with_and_without_colour() {
    let mut counts = Counts::default();
    for line in [
        "running 3 tests",
        "test wire::open ... ok",
        "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s",
        "test result: \u{1b}[31mFAILED\u{1b}[m. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.25s",
    ] {
        counts.add_line(line);
    }
    assert_eq!(counts, Counts { passed: 7, failed: 2, ignored: 1 });
}

#[test]
fn a_failing_program_is_counted_not_an_error() {
    let script = "echo 'test result: FAILED. 1 passed; 1 failed; 0 ignored'; exit 101";
    let mut said = Vec::new();
    let (counts, good) = counted(Command::new("sh").args(["-c", script]), &mut said).unwrap();
    assert_eq!((counts, good), (Counts { passed: 1, failed: 1, ignored: 0 }, false));
    assert_eq!(said, b"test result: FAILED. 1 passed; 1 failed; 0 ignored\n");
}

#[test]
fn errors_name_the_work_and_the_command() {
    let error = must(Command::new("sh").args(["-c", "exit 3"]), "brewing").unwrap_err().to_string();
    assert_eq!(error, "brewing failed (exit status: 3): sh -c \"exit 3\"");
    let error = stdout(Command::new("sh").args(["-c", "echo no hops >&2; exit 1"])).unwrap_err().to_string();
    assert!(error.ends_with("(exit status: 1): no hops"), "{error}");
}

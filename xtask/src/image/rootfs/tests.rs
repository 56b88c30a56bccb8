use super::*;

#[test]
fn lines_of_ldd_are_read() {
    let of = |line: &str| library(line).map(|path| path.to_str().unwrap().to_owned());
    assert_eq!(
        of("\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007f1)").as_deref(),
        Some("/lib/x86_64-linux-gnu/libz.so.1")
    );
    assert_eq!(of("\t/lib64/ld-linux-x86-64.so.2 (0x00007f2)").as_deref(), Some("/lib64/ld-linux-x86-64.so.2"));
    assert_eq!(of("\tlinux-vdso.so.1 (0x00007ffd)"), None);
    assert_eq!(of("\tstatically linked"), None);
}

#[test]
fn a_name_is_not_the_beginning_of_another() {
    let text = "frrx:x:1:1::/:/x\nfrr:x:107:112::/nonexistent:/usr/sbin/nologin\n";
    assert_eq!(line_of(text, "frr"), Some("frr:x:107:112::/nonexistent:/usr/sbin/nologin"));
    assert_eq!(line_of(text, "fr"), None);
}

#[test]
fn the_shell_brings_its_loader_and_its_c_library() {
    let shell = find("sh").unwrap();
    let found = libraries([shell].iter()).unwrap();
    let has = |name: &str| found.iter().any(|path| path.to_str().unwrap().contains(name));
    assert!(has("libc.so") && has("ld-linux"), "{found:?}");
}

#[test]
fn folders_are_followed_and_names_are_kept() {
    let loader = libraries([find("sh").unwrap()].iter()).unwrap();
    for library in loader {
        let merged = merged(&library).unwrap();
        assert_eq!(merged.file_name(), library.file_name());
        assert_eq!(merged.canonicalize().unwrap(), library.canonicalize().unwrap());
    }
}

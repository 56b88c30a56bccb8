use super::*;

#[test]
fn the_end_of_a_prefix_is_the_next_key() {
    assert_eq!(prefix_end("/calico/"), b"/calico0");
    assert_eq!(prefix_end("a"), b"b");
    assert_eq!(prefix_end(""), [0]);
    assert_eq!(prefix_end("a\u{7f}"), b"a\x80");
}

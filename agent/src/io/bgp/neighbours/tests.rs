use super::*;

const SOME: Dropped = Dropped { unsigned: 1, unexpected: 2, wrong: 3, far: 4 };

#[test]
fn drops_mean_only_what_the_leafs_settings_let_them_mean() {
    let none = Dropped::default();
    for signed in [false, true] {
        assert_eq!(none.words(signed, true, 1), None);
        assert_eq!(none.trouble(signed.then_some(Path::new("/k")), true), None);
    }
    assert_eq!(
        SOME.words(true, false, 1).unwrap(),
        "3 segments with a wrong TCP MD5 signature arrived here meanwhile: the keys differ; 1 segment without a TCP MD5 \
         signature arrived here meanwhile: the leaf has no key for us"
    );
    assert_eq!(
        SOME.words(false, true, 3).unwrap(),
        "2 segments with a TCP MD5 signature arrived here meanwhile, and there is no password_file; 4 segments with a TTL \
         below 255 arrived here meanwhile: the leaf is not on the link, or has no ttl-security; the kernel does not say of which \
         of 3 leaves without a session"
    );
    assert!(SOME.trouble(Some(Path::new("/k")), false).unwrap().contains("compare /k with the leaf's"));
    assert_eq!(SOME.words(false, false, 1).unwrap().matches(';').count(), 0);
    // A problem stays the same while counts grow.
    let more = Dropped { wrong: 30, ..SOME };
    assert_eq!(SOME.trouble(Some(Path::new("/k")), false), more.trouble(Some(Path::new("/k")), false));
}

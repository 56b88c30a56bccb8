use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn a_password_is_one_line_that_not_everybody_can_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("etcd.password");
    let name = file.display().to_string();
    let read = |text: &[u8], mode| {
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        password(&file)
    };
    assert_eq!(read(b"secret", 0o600), Ok("secret".to_owned()));
    assert_eq!(read(b"with spaces \r\n", 0o640), Ok("with spaces ".to_owned()));
    assert_eq!(
        read(b"secret\n", 0o644),
        Err(format!("everybody may use the password in {name}: run `chmod 600 {name}`"))
    );
    for (text, why) in
        [(&b""[..], "is empty"), (b"\n", "is empty"), (b"a\nb\n", "more than one line"), (b"\xff", "cannot read")]
    {
        let words = read(text, 0o600).unwrap_err();
        assert!(words.contains(&name) && words.contains(why) && words.contains("password_file"), "{words}");
    }
    assert!(password(folder.path()).unwrap_err().contains("is no file"));
    assert!(password(&folder.path().join("absent")).unwrap_err().contains("No such file"));
}

//! Keys of TCP MD5 signatures, as files.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::sockopt::MAX_KEY;

/// A key that the kernel takes: 1 to 80 bytes.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key(Vec<u8>);

impl Key {
    /// The key of a file: its one line, without the end of the line.
    ///
    /// # Errors
    /// In words: why there is none, and what to do.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let name = path.display();
        // Not blocked by a pipe that nobody writes to.
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path);
        let file = file.map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => {
                format!("{name} does not exist; write the key into it, readable by the agent only")
            }
            _ => format!("cannot read {name}: {e}"),
        })?;
        let about = file.metadata().map_err(|e| format!("cannot read {name}: {e}"))?;
        if !about.is_file() {
            return Err(format!("{name} is no file"));
        }
        if about.mode() & 0o007 != 0 {
            return Err(format!("everybody may use the key in {name}: run `chmod 600 {name}`"));
        }
        let mut bytes = Vec::new();
        // A key, the end of its line, and a byte to see that there is more.
        let limit = u64::try_from(MAX_KEY + 3).unwrap_or(u64::MAX);
        file.take(limit).read_to_end(&mut bytes).map_err(|e| format!("cannot read {name}: {e}"))?;
        let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Err(format!("{name} is empty; write the key into it"));
        }
        if line.contains(&b'\n') {
            return Err(format!("{name} has more than one line; a key is one line of at most {MAX_KEY} bytes"));
        }
        if line.len() > MAX_KEY {
            return Err(format!("the key in {name} is longer than the {MAX_KEY} bytes that the kernel takes"));
        }
        Ok(Self(line.to_vec()))
    }

    /// A key that nobody has, so that nobody is heard.
    ///
    /// # Errors
    /// There is no randomness to be had.
    pub(super) fn nobodys() -> Result<Self, String> {
        let mut bytes = vec![0; 32];
        let read = File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut bytes));
        read.map(|()| Self(bytes)).map_err(|e| format!("cannot read /dev/urandom: {e}"))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn read(content: &[u8], mode: u32) -> Result<Key, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leaf.key");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        Key::read(&path).map_err(|words| words.replace(&path.display().to_string(), "FILE"))
    }

    #[test]
    fn a_key_is_one_line_without_its_end() {
        for content in ["secret", "secret\n", "secret\r\n"] {
            assert_eq!(read(content.as_bytes(), 0o600).unwrap().bytes(), b"secret");
        }
        assert_eq!(read(b" a b ", 0o640).unwrap().bytes(), b" a b ");
        assert_eq!(read(&[0xff; 80], 0o400).unwrap().bytes(), [0xff; 80]);
        assert_eq!(format!("{:?}", read(b"secret", 0o600).unwrap()), "Key(..)");
    }

    #[test]
    fn what_is_no_key_is_said() {
        let longest = [[b'x'; 80].as_slice(), b"\r\n"].concat();
        assert_eq!(read(&longest, 0o600).unwrap().bytes().len(), 80);
        for content in [[b'x'; 81].as_slice(), &[b'x'; 100_000]] {
            let words = read(content, 0o600).unwrap_err();
            assert_eq!(words, "the key in FILE is longer than the 80 bytes that the kernel takes");
        }
        for content in ["", "\n", "\r\n"] {
            assert_eq!(read(content.as_bytes(), 0o600).unwrap_err(), "FILE is empty; write the key into it");
        }
        assert!(read(b"one\ntwo\n", 0o600).unwrap_err().contains("more than one line"));
        let words = read(b"secret", 0o604).unwrap_err();
        assert_eq!(words, "everybody may use the key in FILE: run `chmod 600 FILE`");
        assert!(Key::read(Path::new("/nowhere/leaf.key")).unwrap_err().contains("does not exist"));
        assert_eq!(Key::read(Path::new("/dev")).unwrap_err(), "/dev is no file");
    }
}

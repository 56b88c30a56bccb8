//! The header that every message is sent in (RFC 4271 section 4.1).

use super::MessageType;

/// What every message begins with: it once carried authentication.
pub(super) const MARKER: [u8; 16] = [0xff; 16];

/// Appends a message whose body is written by `body`. The caller keeps it within [`super::MAX_MESSAGE_LEN`].
pub(super) fn message(out: &mut Vec<u8>, kind: MessageType, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&MARKER);
    out.extend_from_slice(&[0, 0, kind as u8]);
    body(out);
    let len = u16::try_from(out.len() - start).unwrap_or(u16::MAX);
    if let Some(field) = out.get_mut(start + 16..start + 18) {
        field.copy_from_slice(&len.to_be_bytes());
    }
}

//! Framing (RFC 4271 sections 4.1 and 6.1).

use super::envelope::{MARKER, message};
use super::notification::{ErrorCode, Notification};
use super::{HEADER_LEN, MAX_EXTENDED_MESSAGE_LEN, MAX_MESSAGE_LEN, MessageType};

/// One whole message at the head of a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// Its type.
    pub kind: MessageType,
    /// What follows the header.
    pub body: &'a [u8],
    /// Octets of the whole, header included.
    pub len: usize,
}

/// The message at the head of `buffer`; `None` when more bytes are needed. `extended`: we have offered to read messages of more
/// than [`MAX_MESSAGE_LEN`] octets (RFC 8654 section 4); OPEN and KEEPALIVE never have them.
///
/// # Errors
/// The NOTIFICATION that answers a broken header. The stream can't be read on after it.
pub fn frame(buffer: &[u8], extended: bool) -> Result<Option<Frame<'_>>, Notification> {
    let Some(header) = buffer.first_chunk::<HEADER_LEN>() else {
        return Ok(None);
    };
    if header.first_chunk() != Some(&MARKER) {
        return Err(Notification::new(ErrorCode::Header, 1));
    }
    let length = [header[16], header[17]];
    let len = usize::from(u16::from_be_bytes(length));
    let bad_length = || Notification::new(ErrorCode::Header, 2).with_data(&length);
    let most = if extended { MAX_EXTENDED_MESSAGE_LEN } else { MAX_MESSAGE_LEN };
    if !(HEADER_LEN..=most).contains(&len) {
        return Err(bad_length());
    }
    // Judged before the body arrives, so that a peer can't make us wait for what is refused anyway.
    let kind = MessageType::from_code(header[18])
        .ok_or_else(|| Notification::new(ErrorCode::Header, 3).with_data(&[header[18]]))?;
    let possible = match kind {
        MessageType::Open => (HEADER_LEN + 10..=MAX_MESSAGE_LEN).contains(&len),
        MessageType::Update => len >= HEADER_LEN + 4,
        MessageType::Notification => len >= HEADER_LEN + 2,
        MessageType::Keepalive => len == HEADER_LEN,
        // Its length is judged with it: the error has a code of its own (RFC 7313 section 5).
        MessageType::RouteRefresh => true,
    };
    if !possible {
        return Err(bad_length());
    }
    Ok(buffer.get(HEADER_LEN..len).map(|body| Frame { kind, body, len }))
}

/// Appends a KEEPALIVE.
pub fn keepalive(out: &mut Vec<u8>) {
    message(out, MessageType::Keepalive, |_| {});
}

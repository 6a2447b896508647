//! Frames of `Multiplexed`, byte by byte.

/// A message with the id of its request.
pub fn message_of(id: u32, message: impl AsRef<[u8]>) -> Vec<u8> {
    let message = message.as_ref();
    framed(0, id, &[message])
}

/// A control frame with the id of its request.
pub fn control_of(id: u32, kind: u8, text: impl AsRef<[u8]>) -> Vec<u8> {
    framed(1 << 31, id, &[&[kind], text.as_ref()])
}

/// A notice of this kind, and the message that it announces.
pub fn announced_of(id: u32, kind: u8, message: impl AsRef<[u8]>) -> Vec<u8> {
    [control_of(id, kind, [0, 0, 0, 1]), message_of(id, message)].concat()
}

fn framed(flag: u32, id: u32, parts: &[&[u8]]) -> Vec<u8> {
    let payload = parts.concat();
    let length = u32::try_from(payload.len()).expect("tests are small") | flag;
    [&length.to_be_bytes()[..], &id.to_be_bytes(), &payload].concat()
}

//! Frames of `Multiplexed`, byte by byte.

use crate::RawPeer;

/// The kinds of its control frames, from `WIRE.md`.
pub mod kind {
    /// The rejection of a request that the client has cancelled.
    pub const CANCELLED: u8 = 0x07;
    /// The next messages are items of a streamed reply.
    pub const ITEMS: u8 = 0x81;
    /// The next messages are events.
    pub const EVENTS: u8 = 0x82;
    /// The next message is a part of a reply.
    pub const PARTS: u8 = 0x85;
    /// The client takes more items.
    pub const CREDIT: u8 = 0x86;
    /// The client no longer wants a request.
    pub const CANCEL: u8 = 0x87;
    /// How long the client waits for the reply to the next request.
    pub const DEADLINE: u8 = 0x88;
}

/// The bit of the length that marks a control frame.
const CONTROL: u32 = 1 << 31;

/// A message with the id of its request.
pub fn message_of(id: u32, message: impl AsRef<[u8]>) -> Vec<u8> {
    let message = message.as_ref();
    framed(0, id, &[message])
}

/// A control frame with the id of its request.
pub fn control_of(id: u32, kind: u8, text: impl AsRef<[u8]>) -> Vec<u8> {
    framed(CONTROL, id, &[&[kind], text.as_ref()])
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

/// Receives a frame: its id, its kind if it is a control frame, and its message or text.
///
/// # Panics
///
/// When the peer closes before.
pub async fn receive_frame(peer: &mut RawPeer) -> (u32, Option<u8>, Vec<u8>) {
    let header = peer.receive(8).await;
    let [length, id] = [&header[..4], &header[4..]]
        .map(|field| u32::from_be_bytes(field.try_into().expect("four bytes")));
    let mut payload = peer.receive((length & !CONTROL) as usize).await;
    let kind = (length & CONTROL != 0).then(|| payload.remove(0));
    (id, kind, payload)
}

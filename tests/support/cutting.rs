//! Framings without a connection: what they find in bytes that arrive in pieces.

use tcs::{
    __private::ConnectionFraming,
    framing::{Announcement, FrameError, FrameKind, Framing, Input, ParsedFrame, ReadState, Side},
};

/// What stood in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Message(Vec<u8>),
    /// A message of this length, beyond the limit. It was skipped.
    Oversized(usize),
    /// A control frame of a kind, with its text.
    Control(u8, Vec<u8>),
    /// A message that a notice has announced.
    Announced(Announcement, Vec<u8>),
}

/// Messages that were found, with their bytes.
pub fn messages(messages: &[Vec<u8>]) -> Vec<Found> {
    messages.iter().cloned().map(Found::Message).collect()
}

/// What was read from a stream.
#[derive(Debug, Default)]
pub struct Read {
    pub found: Vec<Found>,
    /// The id of each.
    pub ids: Vec<u32>,
    /// The error that ended the stream.
    pub error: Option<FrameError>,
    /// Whether the framing waits for more bytes.
    pub waits: bool,
}

/// Reads a stream that arrives in `pieces` and then ends, as a server or a client does. Returns what it
/// held, and the error that ended it.
pub fn read<F: Framing>(
    side: Side,
    pieces: &[&[u8]],
    limit: usize,
) -> (Vec<Found>, Option<FrameError>) {
    let read = read_until::<F>(side, &[pieces, &[&[]]].concat(), ReadState::Eof, limit);
    (read.found, read.error)
}

/// Reads a stream that arrives in `pieces`. `last` is the state after the last of them.
pub fn read_until<F: Framing>(side: Side, pieces: &[&[u8]], last: ReadState, limit: usize) -> Read {
    let mut framing = ConnectionFraming::<F>::default();
    let mut read = Read::default();
    let (mut unread, mut skip) = (Vec::new(), 0);
    for (number, piece) in pieces.iter().enumerate() {
        let is_last = number + 1 == pieces.len();
        let read_state = if is_last { last } else { ReadState::Idle };
        unread.extend_from_slice(piece);
        read.waits = false;
        loop {
            let skipped = usize::min(skip, unread.len());
            unread.drain(..skipped);
            skip -= skipped;
            // As in the library's loop: nothing is parsed before the rest of what is skipped has arrived,
            // and an empty message at the end would be found for ever.
            if skip > 0 || (unread.is_empty() && !read.found.is_empty()) {
                break;
            }
            match framing.parse(Input::new(&unread, limit, side, read_state)) {
                Ok(Some(parsed)) => {
                    read.found.extend(taken(&parsed, &unread));
                    read.ids.resize(read.found.len(), parsed.id());
                    skip = parsed.consumed();
                }
                Ok(None) => {
                    read.waits = true;
                    break;
                }
                Err(error) => {
                    read.error = Some(error);
                    return read;
                }
            }
        }
    }
    read
}

/// Returns what a frame holds. Bytes that are skipped hold nothing.
fn taken(frame: &ParsedFrame, unread: &[u8]) -> Option<Found> {
    let payload = frame.payload();
    match frame.kind() {
        FrameKind::Message => Some(Found::Message(unread[payload].to_vec())),
        FrameKind::Control(kind) => Some(Found::Control(kind, unread[payload].to_vec())),
        FrameKind::Announced(as_what) => Some(Found::Announced(as_what, unread[payload].to_vec())),
        FrameKind::Oversized => Some(Found::Oversized(payload.len())),
        FrameKind::Skip => None,
        other => panic!("no test has frames of the kind {other:?}"),
    }
}

/// Writes messages one behind the other, with the id 1 if the framing has ids.
pub fn write<F: Framing>(messages: &[Vec<u8>]) -> Vec<u8> {
    let (mut framing, mut out) = (F::default(), Vec::new());
    framing.set_id(1);
    for message in messages {
        let start = out.len();
        framing.begin(&mut out);
        out.extend_from_slice(message);
        framing.finish(&mut out, start).expect("it can be sent");
    }
    out
}

/// Writes a message, if it can be sent, with the id 1 if the framing has ids.
pub fn write_one<F: Framing>(message: &[u8]) -> Result<Vec<u8>, FrameError> {
    write_with(F::default(), message)
}

/// Frames one message as a client does.
///
/// # Errors
///
/// If the framing cannot send it.
pub fn write_request<F: Framing>(message: &[u8]) -> Result<Vec<u8>, FrameError> {
    let mut framing = F::default();
    framing.set_side(Side::Client);
    write_with(framing, message)
}

fn write_with(mut framing: impl Framing, message: &[u8]) -> Result<Vec<u8>, FrameError> {
    let mut out = b"before".to_vec();
    framing.set_id(1);
    framing.begin(&mut out);
    out.extend_from_slice(message);
    framing.finish(&mut out, 6)?;
    Ok(out.split_off(6))
}

/// Cuts a stream at these places.
pub fn pieces(stream: &[u8], mut cuts: Vec<usize>) -> Vec<&[u8]> {
    cuts.sort_unstable();
    let mut pieces = Vec::new();
    let mut start = 0;
    for cut in cuts {
        let cut = cut.min(stream.len());
        pieces.push(&stream[start..cut]);
        start = cut;
    }
    pieces.push(&stream[start..]);
    pieces
}

/// Fails unless the stream reads the same when it is cut anywhere, and everywhere.
pub fn every_split_gives<F: Framing>(
    side: Side,
    stream: &[u8],
    limit: usize,
    expected: &(Vec<Found>, Option<FrameError>),
) {
    for at in 0..=stream.len() {
        let found = read::<F>(side, &pieces(stream, vec![at]), limit);
        assert_eq!(found, *expected, "cut at {at}");
    }
    let bytes: Vec<_> = stream.chunks(1).collect();
    assert_eq!(read::<F>(side, &bytes, limit), *expected, "single bytes");
}

//! Framings find the same messages however the stream is split, within their limits.

use proptest::prelude::*;
use tcs::{
    Arrival, Cut, Exchanges, FrameError, Framing, Input, LengthPrefixed, Lines, Raw, Refusal,
    RefusalKind, Side, Told,
};
use tcs_tests::{control, frame};

const LIMIT: usize = 64;

/// Reads a stream that arrives in `pieces`; returns its messages, and why it ended if it broke.
fn read<F: Framing>(pieces: &[&[u8]], limit: usize) -> (Vec<Vec<u8>>, Option<FrameError>) {
    let (mut framing, mut unread, mut messages) = (F::default(), Vec::new(), Vec::new());
    let ended: &[u8] = &[];
    let arrivals = pieces
        .iter()
        .map(|piece| (*piece, Arrival::Paused))
        .chain([(ended, Arrival::Ended)]);
    for (piece, arrival) in arrivals {
        unread.extend_from_slice(piece);
        loop {
            let input = Input::new(&unread, limit, Side::Server, arrival);
            match framing.cut(input) {
                Ok(Some(cut)) => {
                    let (message, consumed) = taken(&cut, &unread);
                    messages.push(message);
                    unread.drain(..consumed);
                }
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
    }
    (messages, None)
}

/// Finds out what a cut took, by comparing it with those that can be made.
fn taken(cut: &Cut, unread: &[u8]) -> (Vec<u8>, usize) {
    for consumed in 0..=unread.len() {
        for end in (0..=consumed).rev() {
            for start in [0, 4] {
                if start <= end && *cut == Cut::message(start..end, consumed) {
                    return (unread[start..end].to_vec(), consumed);
                }
            }
        }
    }
    panic!("no message: {cut:?}");
}

fn write<F: Framing>(messages: &[Vec<u8>]) -> Vec<u8> {
    let (mut framing, mut out) = (F::default(), Vec::new());
    for message in messages {
        let start = out.len();
        framing.begin(&mut out);
        out.extend_from_slice(message);
        framing.finish(&mut out, start).expect("it can be sent");
    }
    out
}

fn pieces(stream: &[u8], mut cuts: Vec<usize>) -> Vec<&[u8]> {
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

fn every_split_gives<F: Framing>(messages: &[Vec<u8>]) {
    let stream = write::<F>(messages);
    let expected = (messages.to_vec(), None);
    for at in 0..=stream.len() {
        assert_eq!(
            read::<F>(&pieces(&stream, vec![at]), LIMIT),
            expected,
            "{at}"
        );
    }
    let bytes: Vec<_> = stream.chunks(1).collect();
    assert_eq!(read::<F>(&bytes, LIMIT), expected);
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..=LIMIT)
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    // A carriage return at the end of a line belongs to its delimiter, and a zero byte at the start of
    // the first is no text.
    message().prop_map(|line| {
        let mut line: Vec<_> = line.into_iter().filter(|byte| *byte != b'\n').collect();
        while line.last() == Some(&b'\r') {
            line.pop();
        }
        if let Some(first) = line.first_mut() {
            *first = (*first).max(1);
        }
        line
    })
}

proptest! {
    #[test]
    fn length_prefixed_reads_what_it_wrote(
        messages in prop::collection::vec(message(), 0..6),
        cuts in prop::collection::vec(0..400_usize, 0..10),
    ) {
        let stream = write::<LengthPrefixed>(&messages);
        prop_assert_eq!(read::<LengthPrefixed>(&pieces(&stream, cuts), LIMIT), (messages, None));
    }

    #[test]
    fn lines_reads_what_it_wrote(
        messages in prop::collection::vec(line(), 0..6),
        cuts in prop::collection::vec(0..400_usize, 0..10),
    ) {
        let stream = write::<Lines>(&messages);
        prop_assert_eq!(read::<Lines>(&pieces(&stream, cuts), LIMIT), (messages, None));
    }

    /// A second decoder, written without looking at the first.
    #[test]
    fn length_prefixed_agrees_with_a_naive_decoder(
        stream in prop::collection::vec(prop_oneof![Just(0_u8), 0..6_u8], 0..60),
    ) {
        let (messages, error) = read::<LengthPrefixed>(&[&stream], 5);
        let (mut rest, mut expected) = (stream.as_slice(), Vec::new());
        while let Some((header, body)) = rest.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*header) as usize;
            if length > 5 || body.len() < length {
                break;
            }
            expected.push(body[..length].to_vec());
            rest = &body[length..];
        }
        prop_assert_eq!(messages, expected);
        prop_assert_eq!(error.is_some(), !rest.is_empty());
    }

    #[test]
    fn lines_agrees_with_a_naive_decoder(
        stream in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'a')], 0..60),
    ) {
        let (messages, error) = read::<Lines>(&[&stream], LIMIT);
        let mut lines: Vec<_> = stream.split(|byte| *byte == b'\n').collect();
        let last = lines.pop().unwrap_or_default();
        let expected: Vec<_> = lines
            .into_iter()
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec())
            .collect();
        prop_assert_eq!(messages, expected);
        prop_assert_eq!(error.is_some(), !last.is_empty());
    }

    #[test]
    fn garbage_never_panics(stream in message(), first in message()) {
        for arrival in [Arrival::Filled, Arrival::Paused, Arrival::Ended] {
            for side in [Side::Server, Side::Client] {
                for bytes in [&first[..], &stream[..]] {
                    let input = Input::new(bytes, 10, side, arrival);
                    drop(LengthPrefixed::default().cut(input));
                    drop(Lines::default().cut(input));
                    drop(Raw::default().cut(input));
                }
            }
        }
    }
}

#[test]
fn all_single_splits_give_the_same_messages() {
    let messages = [
        b"".to_vec(),
        b"a".to_vec(),
        b"hello".to_vec(),
        vec![b'x'; LIMIT],
    ];
    every_split_gives::<LengthPrefixed>(&messages);
    every_split_gives::<Lines>(&messages);
    every_split_gives::<LengthPrefixed>(&[b"\n\r\n".to_vec(), vec![0; 4], vec![0xff; 9]]);
    every_split_gives::<Lines>(&[b"\rtext\rwithin".to_vec()]);
}

#[test]
fn limits_hold_to_the_byte() {
    for (length, fits) in [(LIMIT - 1, true), (LIMIT, true), (LIMIT + 1, false)] {
        let message = vec![b'x'; length];
        let lines = read::<Lines>(&[&[&message[..], b"\n"].concat()], LIMIT);
        assert_eq!(lines.1.is_none(), fits, "{length}");
        let returned = read::<Lines>(&[&[&message[..], b"\r\n"].concat()], LIMIT);
        assert_eq!(returned.1.is_none(), fits, "{length}");
        let raw = read::<Raw>(&[&message], LIMIT);
        assert_eq!(raw.1.is_none(), fits, "{length}");
        let prefixed = frame(&message);
        let input = Input::new(&prefixed, LIMIT, Side::Server, Arrival::Paused);
        let expected = if fits {
            Cut::message(4..4 + length, 4 + length)
        } else {
            Cut::too_large(length, 4 + length)
        };
        assert_eq!(LengthPrefixed::default().cut(input), Ok(Some(expected)));
    }
}

#[test]
fn endless_line_is_refused_before_its_end() {
    let (messages, error) = read::<Lines>(&[&[b'x'; LIMIT], b"xx"], LIMIT);
    assert!(messages.is_empty());
    assert_eq!(
        error.expect("it is too long").to_string(),
        "a message of 66 bytes exceeds `max_frame_len` of 64 bytes"
    );
}

#[test]
fn message_is_skipped_up_to_four_times_the_limit() {
    for (length, skipped) in [(4 * LIMIT, true), (4 * LIMIT + 1, false)] {
        let header = u32::try_from(length).expect("small").to_be_bytes();
        let input = Input::new(&header, LIMIT, Side::Server, Arrival::Paused);
        let cut = LengthPrefixed::default().cut(input);
        if skipped {
            assert_eq!(cut, Ok(Some(Cut::too_large(length, 4 + length))));
        } else {
            assert_eq!(
                cut.expect_err("it is too large").to_string(),
                "a message of 257 bytes exceeds `max_frame_len` of 64 bytes"
            );
        }
    }
}

#[test]
fn control_frames_are_told_from_messages() {
    let bytes = control(0x41, "tea");
    for at in 0..bytes.len() {
        let input = Input::new(&bytes[..at], LIMIT, Side::Client, Arrival::Paused);
        assert_eq!(LengthPrefixed::default().cut(input), Ok(None), "{at}");
    }
    let input = Input::new(&bytes, LIMIT, Side::Client, Arrival::Paused);
    assert_eq!(
        LengthPrefixed::default().cut(input),
        Ok(Some(Cut::control(0x41, 5..8, 8)))
    );
}

#[test]
fn control_frame_has_at_most_4096_bytes() {
    let mut out = Vec::new();
    // Cut between characters, not within one.
    let refusal = Refusal::new(RefusalKind::Busy, "ä".repeat(4_096));
    assert_eq!(
        LengthPrefixed::default().refuse(&mut out, &refusal),
        Told::Yes
    );
    assert_eq!(out.len(), 4 + 1 + 4_094);
    assert_eq!(out[..5], control(0x04, &"ä".repeat(2_047))[..5]);

    for length in [0, 4_097] {
        let header = (length | 1_u32 << 31).to_be_bytes();
        let input = Input::new(&header, LIMIT, Side::Client, Arrival::Paused);
        assert!(LengthPrefixed::default().cut(input).is_err(), "{length}");
    }
}

#[test]
fn raw_request_is_what_has_arrived() {
    let cut = |bytes, side, arrival| Raw::default().cut(Input::new(bytes, LIMIT, side, arrival));
    let all = Ok(Some(Cut::message(0..2, 2)));
    assert_eq!(cut(b"ab", Side::Server, Arrival::Filled), Ok(None));
    assert_eq!(cut(b"ab", Side::Server, Arrival::Paused), all);
    assert_eq!(cut(b"ab", Side::Server, Arrival::Ended), all);
    assert_eq!(cut(b"", Side::Server, Arrival::Ended), Ok(None));
    assert_eq!(Raw::EXCHANGES, Exchanges::One);
}

#[test]
fn raw_reply_is_everything_until_the_end() {
    let cut = |bytes, arrival| Raw::default().cut(Input::new(bytes, LIMIT, Side::Client, arrival));
    assert_eq!(cut(b"ab", Arrival::Paused), Ok(None));
    assert_eq!(cut(b"ab", Arrival::Ended), Ok(Some(Cut::message(0..2, 2))));
    assert_eq!(cut(b"", Arrival::Ended), Ok(Some(Cut::message(0..0, 0))));
}

#[test]
fn line_feed_within_a_message_cannot_be_sent_as_a_line() {
    let mut out = b"a\nb".to_vec();
    let error = Lines::default().finish(&mut out, 0).expect_err("two lines");
    assert_eq!(
        error.to_string(),
        "the message contains a line feed, which would end it early"
    );
}

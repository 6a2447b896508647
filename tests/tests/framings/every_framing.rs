//! Every framing finds the same messages however the stream is split, within its limits, and agrees
//! with a second implementation. What is particular to one of them is in `single_framings.rs`.

use proptest::prelude::*;
use tcs::{
    __private::ConnectionFraming,
    framing::{
        Blocks, CodeLines, ContentLength, CrlfText, DOT_END, Digits, Duplex, FrameError, Framing,
        Hex4, Input, LengthField, Lines, Netstrings, ParsedFrame, Raw, ReadState, Side, Varint,
        Verbatim, length_field, prompt, unstuffed,
    },
};
use tcs_tests::{
    cutting::{Found, every_split_gives, messages, pieces, read, write, write_one, write_request},
    every_framing,
    naive::{self, Naive},
};

const LIMIT: usize = 64;
const SIDES: [Side; 2] = [Side::Server, Side::Client];

/// Messages of any bytes; a format's are among them.
fn any_messages() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..=LIMIT), 0..6)
}

/// Messages of any bytes that can be sent.
fn sendable(naive: Naive, mut messages: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    messages.truncate(if naive.once { 1 } else { usize::MAX });
    messages.into_iter().map(naive.fit).collect()
}

fn reads_what_it_wrote<F: Framing>(naive: Naive, given: Vec<Vec<u8>>, cuts: &[usize]) {
    let given = sendable(naive, given);
    let stream = write::<F>(&given);
    let naively: Vec<_> = given.iter().filter_map(|it| (naive.encode)(it)).collect();
    assert_eq!(stream, naively.concat());
    if naive.once && given.is_empty() {
        return;
    }
    for side in SIDES {
        let found = read::<F>(side, &pieces(&stream, cuts.to_vec()), LIMIT);
        assert_eq!(found, (messages(&given), None));
    }
}

fn sends_what_can_be_sent<F: Framing>(naive: Naive, message: &[u8]) {
    let written = write_one::<F>(message).ok();
    assert_eq!(written, (naive.encode)(message));
}

/// Reads streams of the bytes that mean something; where the naive decoder stops, so must this one.
fn agrees_with_naive<F: Framing>(naive: Naive, stream: &[u8]) {
    let stream: Vec<_> = stream
        .iter()
        .map(|byte| naive.alphabet[usize::from(*byte) % naive.alphabet.len()])
        .collect();
    let (mut rest, mut expected) = (&stream[..], Vec::new());
    while let Some((message, behind)) = (naive.decode)(rest)
        && message.len() <= LIMIT
    {
        expected.push(Found::Message(message.to_vec()));
        rest = behind;
        if rest.is_empty() {
            break;
        }
    }
    for stream in [&[&stream[..]][..], &stream.chunks(1).collect::<Vec<_>>()] {
        let (mut found, error) = read::<F>(Side::Server, stream, LIMIT);
        let skips = found.pop_if(|last| matches!(last, Found::Oversized(_)));
        assert_eq!(found, expected);
        let stopped = error.is_some() || skips.is_some();
        assert_eq!(stopped, !rest.is_empty(), "{error:?}");
    }
}

fn never_panics<F: Framing>(first: &[u8], then: &[u8]) {
    for read_state in [ReadState::MaybeMore, ReadState::Idle, ReadState::Eof] {
        for side in SIDES {
            for limit in [0, 10, usize::MAX] {
                let mut framing = F::default();
                for bytes in [first, &[first, then].concat(), then] {
                    drop(framing.parse(Input::new(bytes, limit, side, read_state)));
                }
            }
        }
    }
}

/// Whatever is read as a message can be sent, and is then read as what was sent.
fn sends_what_it_reads<F: Framing>(naive: Naive, stream: &[u8]) {
    let most = stream.len();
    for side in SIDES {
        for found in read::<F>(side, &[stream], most).0 {
            let Found::Message(message) = found else {
                continue;
            };
            let frame = |message: &[u8]| match side {
                Side::Server => write_request::<F>(message),
                Side::Client => write_one::<F>(message),
            };
            let written = frame(&message).expect("it was read");
            assert_eq!(Some(&written), (naive.encode)(&message).as_ref());
            let (again, error) = read::<F>(side, &[&written], most);
            let [Found::Message(again)] = &again[..] else {
                panic!("{again:?} {error:?}");
            };
            // It is the same, except for another way to write its length or its line ends.
            assert_eq!(frame(again), Ok(written));
        }
    }
}

/// Streams with a long message whose header is any, as far as it is in one byte.
fn sends_what_any_header_announces<F: Framing>(naive: Naive) {
    for length in [5, 65_500] {
        let message = (naive.fit)(vec![b'x'; length]);
        // That of one byte cannot announce so many.
        let Some(mut stream) = (naive.encode)(&message) else {
            continue;
        };
        stream.extend([b'x'; 99]);
        let header = stream.len().min(9);
        for at in 0..header {
            let given = stream[at];
            for byte in [naive.alphabet, b"\0\x7f\x80\xff09f"].concat() {
                stream[at] = byte;
                sends_what_it_reads::<F>(naive, &stream);
            }
            stream[at] = given;
        }
    }
}

/// Messages that are long, short, empty, and of the bytes that mean something.
fn examples(naive: Naive) -> Vec<Vec<u8>> {
    let given = [
        b"".to_vec(),
        b"a".to_vec(),
        naive.alphabet.to_vec(),
        vec![0xff; 9],
        vec![b'x'; LIMIT],
    ];
    sendable(naive, given.to_vec())
}

fn limits_hold<F: Framing>(naive: Naive) {
    let message = (naive.fit)(vec![b'x'; LIMIT]);
    let stream = (naive.encode)(&message).expect("it can be sent");
    let length = message.len();
    for (limit, fits) in [(length + 1, true), (length, true), (length - 1, false)] {
        for side in SIDES {
            let bytes: Vec<_> = stream.chunks(1).collect();
            for pieces in [&[&stream[..]][..], &bytes] {
                let (found, error) = read::<F>(side, pieces, limit);
                if fits {
                    let expected = messages(std::slice::from_ref(&message));
                    assert_eq!((found, error), (expected, None));
                } else {
                    let skipped = found == [Found::Oversized(length)] && error.is_none();
                    let rejected = found.is_empty() && error.is_some();
                    assert!(skipped || rejected, "{found:?} {error:?}");
                }
            }
        }
    }
}

/// The length of a long frame that begins with a header is known before its end, also if the header is part of the
/// message.
fn tells_its_length<F: Framing>(naive: Naive) {
    const MOST: usize = 64 << 20;
    let message = (naive.fit)(vec![b'x'; 60_000]);
    let Some(frame) = (naive.encode)(&message) else {
        // A length of one byte.
        return;
    };
    let input = Input::new(&frame, MOST, Side::Server, ReadState::Eof);
    let parsed = F::default().parse(input).expect("it is a frame");
    let has_header = parsed.map_or(0, |frame| frame.payload().start) + F::MIN_MESSAGE_LEN > 0;
    let framing = ConnectionFraming::<F>::default();
    let bound = framing.frame_len_bound(&frame[..frame.len() * 3 / 4], MOST);
    if has_header && message.len() > 1024 {
        assert!(
            (frame.len()..=frame.len() + 1024).contains(&bound),
            "{bound}"
        );
    } else {
        assert!(bound >= frame.len(), "{bound}");
    }
}

macro_rules! properties {
    ($($name:ident: $framing:ty, $naive:ident;)*) => { $(
        mod $name {
            use super::*;

            type Tested = $framing;
            const NAIVE: Naive = naive::$naive;

            proptest! {
                #[test]
                fn messages_are_read_as_they_were_written_however_they_are_split(
                    given in any_messages(),
                    cuts in prop::collection::vec(0..400_usize, 0..10),
                ) {
                    reads_what_it_wrote::<Tested>(NAIVE, given, &cuts);
                }

                #[test]
                fn what_cannot_be_read_again_cannot_be_sent(
                    message in prop::collection::vec(prop::sample::select(NAIVE.alphabet), 0..8),
                ) {
                    sends_what_can_be_sent::<Tested>(NAIVE, &message);
                }

                #[test]
                fn random_bytes_are_what_the_naive_decoder_says(
                    stream in prop::collection::vec(any::<u8>(), 1..60),
                ) {
                    agrees_with_naive::<Tested>(NAIVE, &stream);
                }

                #[test]
                fn what_is_read_can_be_sent(
                    stream in prop::collection::vec(prop::sample::select(NAIVE.alphabet), 1..40),
                ) {
                    sends_what_it_reads::<Tested>(NAIVE, &stream);
                }

                #[test]
                fn garbage_never_panics(
                    first in prop::collection::vec(any::<u8>(), 0..=LIMIT),
                    then in prop::collection::vec(any::<u8>(), 0..=LIMIT),
                ) {
                    never_panics::<Tested>(&first, &then);
                }
            }

            #[test]
            fn all_single_splits_give_the_same_messages() {
                let given = examples(NAIVE);
                let stream = write::<Tested>(&given);
                for side in SIDES {
                    every_split_gives::<Tested>(side, &stream, LIMIT, &(messages(&given), None));
                }
            }

            #[test]
            fn limits_hold_to_the_byte_in_both_directions() {
                limits_hold::<Tested>(NAIVE);
            }

            #[test]
            fn what_any_header_announces_can_be_sent() {
                sends_what_any_header_announces::<Tested>(NAIVE);
            }

            #[test]
            fn length_of_a_frame_is_known_after_its_header() {
                tells_its_length::<Tested>(NAIVE);
            }
        }
    )* };
}

every_framing!(properties);

// They are not among them, because the next request of a client has another id, and because a message of any format has no
// header.
properties! {
    multiplexed: ::tcs::framing::Multiplexed, MULTIPLEXED;
    field_u16_after_4: LengthField<{ length_field(2).offset(4).pack() }>, FIELD_U16_AFTER_4;
    field_u24_little: LengthField<{ length_field(3).little_endian().adjustment(1).pack() }>,
        FIELD_U24_LITTLE;
    field_u8_counts_all: LengthField<{ length_field(1).offset(1).adjustment(-2).skip(1).pack() }>,
        FIELD_U8_COUNTS_ALL;
    field_u64: LengthField<{ length_field(8).skip(8).pack() }>, FIELD_U64;
    varint_after_1: Varint<1>, VARINT_AFTER_1;
    hex4: Hex4, HEX4;
    code_lines: CodeLines, CODE_LINES;
}

/// A length as large as can be written is rejected, or waited for if the limit is as large.
fn is_bounded<F: Framing>(header: &[u8]) {
    for limit in [0, 64, usize::MAX / 4, usize::MAX] {
        for read_state in [ReadState::MaybeMore, ReadState::Idle, ReadState::Eof] {
            let input = Input::new(header, limit, Side::Server, read_state);
            let parsed = F::default().parse(input);
            let waits = limit > 64 && read_state != ReadState::Eof;
            let is_right = match &parsed {
                Ok(found) => waits && found.as_ref().is_none_or(|it| it.consumed() > 1 << 30),
                Err(_) => true,
            };
            assert!(is_right, "{limit} {read_state:?}: {parsed:?}");
        }
        let framing = ConnectionFraming::<F>::default();
        assert_ne!(framing.frame_len_bound(header, limit), 0);
    }
}

#[test]
fn hostile_lengths_neither_overflow_nor_wait_beyond_the_limit() {
    const LEAST: i32 = i32::MIN;
    let all = &[0xff; 20];
    is_bounded::<LengthField<{ length_field(8).pack() }>>(all);
    is_bounded::<LengthField<{ length_field(8).skip(8).pack() }>>(all);
    is_bounded::<LengthField<{ length_field(8).offset(8).adjustment(i32::MAX).pack() }>>(all);
    is_bounded::<LengthField<{ length_field(8).offset(8).adjustment(LEAST).skip(16).pack() }>>(all);
    is_bounded::<LengthField<{ length_field(8).little_endian().skip(60_000).pack() }>>(all);
    is_bounded::<LengthField<{ length_field(8).pack() }>>(&i64::MAX.to_be_bytes());
    is_bounded::<LengthField<{ length_field(8).adjustment(-8).pack() }>>(&[0; 8]);
    is_bounded::<LengthField<{ length_field(1).adjustment(LEAST).pack() }>>(&[0; 8]);
    is_bounded::<Varint>(b"\xff\xff\xff\xff\x0f");
    is_bounded::<Varint<1>>(b"\x30\xff\xff\xff\x7f");
    is_bounded::<Varint>(all);
    is_bounded::<Digits<b' '>>(b"18446744073709551615 ");
    is_bounded::<Digits<b' '>>(&[b'9'; 40]);
    is_bounded::<Netstrings>(b"18446744073709551615:");
    is_bounded::<Hex4>(b"ffff");
    // Those that are just within 64 bits, so that a sum with them is not.
    for less in (0..64).chain([1 << 62]) {
        let length = u64::MAX - less;
        is_bounded::<Blocks<naive::Plus>>(format!("+{length}\r\n").as_bytes());
        is_bounded::<ContentLength>(format!("Content-Length: {length}\r\n\r\n").as_bytes());
        is_bounded::<Digits<b' '>>(format!("{length} ").as_bytes());
        is_bounded::<LengthField<{ length_field(8).pack() }>>(&length.to_be_bytes());
    }
}

#[test]
fn need_and_counted_keep_the_limit() {
    let input = |read_state| Input::new(b"abcd", 8, Side::Server, read_state);
    let (idle, ended) = (input(ReadState::Idle), input(ReadState::Eof));
    assert_eq!(idle.need(0), Ok(Some(&b""[..])));
    assert_eq!(ended.need(4), Ok(Some(&b"abcd"[..])));
    assert_eq!(idle.need(5), Ok(None));
    assert_eq!(ended.need(5), Err(FrameError::truncated()));
    assert_eq!(idle.need(8 + 1024), Ok(None));
    for most in [8 + 1025, usize::MAX] {
        assert_eq!(idle.need(most), Err(FrameError::too_large(most, 8)));
    }
    let endless = Input::new(b"", usize::MAX, Side::Server, ReadState::Idle);
    assert_eq!(endless.need(usize::MAX), Ok(None));

    let counted = |length| ParsedFrame::counted(idle, 1, length);
    assert_eq!(counted(3), Ok(Some(ParsedFrame::message(1..4, 4))));
    assert_eq!(counted(8), Ok(None));
    assert_eq!(counted(9), Ok(Some(ParsedFrame::oversized(9, 10))));
    assert_eq!(counted(32), Ok(Some(ParsedFrame::oversized(32, 33))));
    for most in [33, usize::MAX] {
        assert_eq!(counted(most), Err(FrameError::too_large(most, 8)));
    }
    assert_eq!(
        ParsedFrame::counted(ended, 1, 4),
        Err(FrameError::truncated())
    );
    let error = FrameError::too_large(9, 8);
    assert_eq!(ParsedFrame::counted(ended, 1, 9), Err(error));
}

/// Their messages depend on how they arrive; `single_framings.rs` has more.
#[test]
fn raw_and_verbatim_limits_hold_to_the_byte() {
    for (length, fits) in [(LIMIT - 1, true), (LIMIT, true), (LIMIT + 1, false)] {
        let message = vec![b'x'; length];
        for side in SIDES {
            let (found, error) = read::<Raw>(side, &[&message], LIMIT);
            assert_eq!(error.is_none(), fits, "{length}");
            assert_eq!(found.is_empty(), !fits, "{length}");
            // What is beyond the limit is the next message.
            let expected = message.chunks(LIMIT).map(<[u8]>::to_vec);
            let expected = messages(&expected.collect::<Vec<_>>());
            assert_eq!(read::<Verbatim>(side, &[&message], LIMIT), (expected, None));
        }
    }
}

proptest! {
    #[test]
    fn garbage_never_panics_in_other_framings(first in any::<Vec<u8>>(), then in any::<Vec<u8>>()) {
        never_panics::<Raw>(&first, &then);
        never_panics::<Verbatim>(&first, &then);
        never_panics::<CrlfText<DOT_END>>(&first, &then);
        never_panics::<Text>(&first, &then);
        never_panics::<Duplex<Lines, Netstrings>>(&first, &then);
    }

    #[test]
    fn verbatim_loses_no_byte_however_they_are_split(
        stream in prop::collection::vec(any::<u8>(), 0..400),
        cuts in prop::collection::vec(0..400_usize, 0..10),
    ) {
        for side in SIDES {
            let (found, error) = read::<Verbatim>(side, &pieces(&stream, cuts.clone()), LIMIT);
            let bytes: Vec<_> = found.into_iter().flat_map(|it| match it {
                Found::Message(bytes) if (1..=LIMIT).contains(&bytes.len()) => bytes,
                other => panic!("{other:?}"),
            }).collect();
            assert_eq!((bytes, error), (stream.clone(), None));
        }
        assert_eq!(write_one::<Verbatim>(&stream), Ok(stream));
    }

    /// Both ends write with one framing and read with the other.
    #[test]
    fn duplex_reads_what_its_other_end_wrote(
        given in any_messages(),
        cuts in prop::collection::vec(0..400_usize, 0..10),
    ) {
        type Tested = Duplex<Lines, Netstrings>;
        let lines = sendable(naive::LINES, given.clone());
        let requests: Vec<_> = lines.iter().map(|it| write_request::<Tested>(it).expect("a line")).collect();
        let naively: Vec<_> = lines.iter().filter_map(|it| (naive::LINES.encode)(it)).collect();
        assert_eq!(&requests, &naively);
        let requests = requests.concat();
        let found = read::<Tested>(Side::Server, &pieces(&requests, cuts.clone()), LIMIT);
        assert_eq!(found, (messages(&lines), None));

        let replies = write::<Tested>(&given);
        let naively: Vec<_> = given.iter().filter_map(|it| (naive::NETSTRINGS.encode)(it)).collect();
        assert_eq!(&replies, &naively.concat());
        let found = read::<Tested>(Side::Client, &pieces(&replies, cuts), LIMIT);
        assert_eq!(found, (messages(&given), None));
    }

    #[test]
    fn reply_of_many_lines_ends_with_a_dot(
        reply in prop::collection::vec(prop::sample::select(&b"..\r\n\na"[..]), 0..20),
    ) {
        let written = write_one::<CrlfText<DOT_END>>(&reply).expect("it can be sent");
        if reply.contains(&b'\n') {
            // Whoever reads it up to the dot and removes those before other lines has the lines again.
            let plain = (naive::CRLF_TEXT.encode)(&reply).expect("it can be sent");
            let (text, rest) = (naive::DOTTED.decode)(&written).expect("it has an end");
            assert_eq!((naive::unstuffed(text), rest), (plain, &b""[..]));
        } else {
            assert_eq!(written, [&reply[..], b"\r\n"].concat());
        }
        let prompted = write_one::<CrlfText<{ DOT_END | prompt(b"> ") }>>(&reply);
        assert_eq!(prompted, Ok([&written[..], b"> "].concat()));
    }

    #[test]
    fn text_is_what_the_naive_decoder_says(
        stream in prop::collection::vec(prop::sample::select(naive::DOTTED.alphabet), 0..40),
        cuts in prop::collection::vec(0..40_usize, 0..5),
    ) {
        let expected = (naive::DOTTED.decode)(&stream);
        for pieces in [pieces(&stream, cuts), stream.chunks(1).collect()] {
            let (found, error) = read::<Text>(Side::Server, &pieces, LIMIT);
            match expected {
                Some((text, _)) => assert_eq!(found.first(), Some(&Found::Message(text.to_vec()))),
                None => assert_eq!((found, error.is_some()), (vec![], !stream.is_empty())),
            }
        }
    }

    #[test]
    fn unstuffed_undoes_what_a_sender_has_stuffed(
        lines in prop::collection::vec("[.\r\u{e9}a]{0,4}", 0..6),
    ) {
        let text: String = lines.iter().flat_map(|line| [line, "\r\n"]).collect();
        let stuffed: String = lines.iter().flat_map(|line| {
            [if line.starts_with('.') { "." } else { "" }, line, "\r\n"]
        }).collect();
        assert_eq!(unstuffed(&stuffed), text);
        // No line of it is the end.
        let sent = [stuffed.as_bytes(), b".\r\n"].concat();
        let (found, error) = read::<Text>(Side::Server, &[&sent], 2 * LIMIT);
        assert_eq!((found, error), (vec![Found::Message(stuffed.into_bytes())], None));
    }
}

/// A text that begins at once, as after `DATA`.
struct Text(CrlfText);

impl Default for Text {
    fn default() -> Self {
        let mut framing = CrlfText::default();
        framing.read_text();
        Self(framing)
    }
}

impl Framing for Text {
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        self.0.parse(input)
    }
}

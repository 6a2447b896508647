//! The framings do what `WIRE.md` says, vector by vector; and so does a second implementation, in
//! Python, which shares nothing with this one.

use std::collections::BTreeSet;

use tcs::{
    __private::ConnectionFraming,
    Rejection, RejectionKind,
    framing::{
        Announcement, Blocks, CodeLines, ContentLength, CrlfLines, CrlfText, DOT_END, Delimited,
        Digits, Duplex, Exchanges, Fixed, FrameError, Framing, Hex4, INCLUDES_HEADER, Input,
        LITTLE_ENDIAN, LengthField, LengthPrefixed, Lines, Multiplexed, NO_TELNET, Netstrings,
        Notice, ParsedFrame, Prefixed, Raw, ReadState, Side, UntilEof, Varint, Verbatim, delimiter,
        length_field, prompt,
    },
};
use tcs_tests::{
    cutting::{Found, read_until},
    naive::Plus,
    process::{Finished, Process, is_missing},
    vectors::{WIRE, bytes, lines, names, shown},
};

/// The names of the kinds that a vector rejects with.
const KINDS: [(&str, RejectionKind); 11] = [
    ("error", RejectionKind::Error),
    ("bad-request", RejectionKind::BadRequest),
    ("too-large", RejectionKind::TooLarge),
    ("busy", RejectionKind::Busy),
    ("timed-out", RejectionKind::TimedOut),
    ("failed", RejectionKind::Failed),
    ("cancelled", RejectionKind::Cancelled),
    ("going-away", RejectionKind::GoingAway),
    ("idle", RejectionKind::Idle),
    ("too-many-connections", RejectionKind::TooManyConnections),
    ("protocol-error", RejectionKind::ProtocolError),
];

/// The names of messages that a notice has announced.
const ANNOUNCED: [(&str, Announcement); 4] = [
    ("item", Announcement::Items),
    ("event", Announcement::Events),
    ("chunk", Announcement::Chunks),
    ("part", Announcement::Parts),
];

/// The names of the notices of a client about a request.
const NOTICES: [(&str, Notice); 3] = [
    ("credit", Notice::Credit(131_072)),
    ("cancel", Notice::Cancel),
    ("deadline", Notice::Deadline(5_000)),
];

#[test]
fn length_prefixed_does_as_specified() {
    run_vectors::<LengthPrefixed>("LengthPrefixed", 55);
}

#[test]
fn multiplexed_does_as_specified() {
    run_vectors::<Multiplexed>("Multiplexed", 55);
}

#[test]
fn lines_does_as_specified() {
    run_vectors::<Lines>("Lines", 20);
}

#[test]
fn crlf_lines_does_as_specified() {
    run_vectors::<CrlfLines>("CrlfLines", 15);
}

#[test]
fn crlf_text_does_as_specified() {
    run_vectors::<CrlfText>("CrlfText", 39);
    run_vectors::<CrlfText<DOT_END>>("CrlfText DOT_END", 5);
    run_vectors::<CrlfText<{ DOT_END | prompt(b"> ") }>>("CrlfText prompt DOT_END", 3);
    run_vectors::<CrlfText<NO_TELNET>>("CrlfText NO_TELNET", 5);
    run_vectors::<Text>("CrlfText read_text", 8);
}

/// A connection whose function has asked for a text.
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

#[test]
fn blocks_does_as_specified() {
    run_vectors::<Blocks<Plus>>("Blocks", 24);
}

#[test]
fn code_lines_does_as_specified() {
    run_vectors::<CodeLines>("CodeLines", 30);
}

#[test]
fn content_length_does_as_specified() {
    run_vectors::<ContentLength>("ContentLength", 20);
}

#[test]
fn delimited_does_as_specified() {
    run_vectors::<Delimited<{ delimiter(b";") }>>("Delimited ;", 10);
    run_vectors::<Delimited<{ delimiter(b"\r\n.\r\n") }>>("Delimited CRLF.CRLF", 10);
}

#[test]
fn fixed_does_as_specified() {
    run_vectors::<Fixed<4>>("Fixed 4", 10);
}

#[test]
fn netstrings_does_as_specified() {
    run_vectors::<Netstrings>("Netstrings", 25);
}

#[test]
fn prefixed_does_as_specified() {
    run_vectors::<Prefixed<4>>("Prefixed 4", 14);
    run_vectors::<Prefixed<2, LITTLE_ENDIAN>>("Prefixed 2 LITTLE_ENDIAN", 10);
    run_vectors::<Prefixed<2, { LITTLE_ENDIAN | INCLUDES_HEADER }>>(
        "Prefixed 2 LITTLE_ENDIAN INCLUDES_HEADER",
        8,
    );
    run_vectors::<Prefixed<3, LITTLE_ENDIAN>>("Prefixed 3 LITTLE_ENDIAN", 5);
    run_vectors::<Prefixed<1>>("Prefixed 1", 3);
}

#[test]
fn length_field_does_as_specified() {
    run_vectors::<LengthField<{ length_field(2).offset(4).pack() }>>("LengthField 2 offset 4", 13);
    run_vectors::<LengthField<{ length_field(3).little_endian().adjustment(1).pack() }>>(
        "LengthField 3 little-endian adjustment 1",
        4,
    );
    run_vectors::<LengthField<{ length_field(4).offset(1).adjustment(-4).pack() }>>(
        "LengthField 4 offset 1 adjustment -4",
        4,
    );
    run_vectors::<LengthField<{ length_field(8).skip(8).pack() }>>("LengthField 8 skip 8", 6);
    run_vectors::<LengthField<{ length_field(2).offset(1).adjustment(1).skip(1).pack() }>>(
        "LengthField 2 offset 1 adjustment 1 skip 1",
        4,
    );
}

#[test]
fn varint_does_as_specified() {
    run_vectors::<Varint>("Varint", 19);
    run_vectors::<Varint<1>>("Varint 1", 16);
}

#[test]
fn digits_does_as_specified() {
    run_vectors::<Digits<b' '>>("Digits SPACE", 17);
}

#[test]
fn hex4_does_as_specified() {
    run_vectors::<Hex4>("Hex4", 24);
}

#[test]
fn until_eof_does_as_specified() {
    run_vectors::<UntilEof>("UntilEof", 15);
}

#[test]
fn raw_does_as_specified() {
    run_vectors::<Raw>("Raw", 10);
}

#[test]
fn verbatim_does_as_specified() {
    run_vectors::<Verbatim>("Verbatim", 8);
}

#[test]
fn duplex_does_as_specified() {
    run_vectors::<Duplex<CrlfText, UntilEof>>("Duplex CrlfText UntilEof", 9);
    run_vectors::<Duplex<Lines, LengthPrefixed>>("Duplex Lines LengthPrefixed", 8);
}

/// Runs the second implementation with a file.
async fn python(path: &str) -> Finished {
    Process::python("vectors.py", [path]).finished().await
}

#[tokio::test]
async fn second_implementation_agrees() {
    if is_missing("python3") {
        return;
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../WIRE.md");
    let printed = python(path).await.succeeded();
    let count: usize = names()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(count)
        .sum();
    assert_eq!(printed, [format!("{count} vectors are right")]);
}

fn count(block: &str) -> usize {
    let vectors = lines(block).filter(|(_, line)| setting(line).is_none());
    vectors.count()
}

/// Returns the name and the number of a line that says how the others of its block are meant.
fn setting(line: &str) -> Option<(&str, &str)> {
    let (name, number) = line.split_once(' ')?;
    ["limit", "id"].contains(&name).then_some((name, number))
}

/// It would agree with anything if it did not look.
#[tokio::test]
async fn second_implementation_sees_what_differs() {
    if is_missing("python3") {
        return;
    }
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/altered.md");
    for (vector, altered) in [
        (
            r#"send "Ann" = 00 00 00 03 "Ann""#,
            r#"send "Ann" = 00 00 00 04 "Ann""#,
        ),
        (
            r#"server reads "5:abcde,1:x," = skip 5"#,
            r#"server reads "5:abcde,1:x," = skip 4"#,
        ),
        (
            r#"server reads "A\r\n.\r\r\n.\r\n" = message "A"#,
            r#"server reads "A\r\n.\r\r\n.\r\n" = message "B"#,
        ),
        (
            r#"reject idle "300 s" = 80 00 00 06 41"#,
            r#"reject idle "300 s" = 80 00 00 06 42"#,
        ),
        (
            "reject too-large \"\" = 80 00 00 01 00 00 01 02 03",
            "reject too-large \"\" = 80 00 00 01 00 00 01 03 03",
        ),
        (
            "client reads 00 00 00 02 00 00 00 00 \"hi\" = id 0",
            "client reads 00 00 00 02 00 00 00 00 \"hi\" = id 1",
        ),
        ("u32 300 = ac 02", "u32 300 = ac 03"),
        ("u8 128 = cc 80", "u8 128 = d0 80"),
        ("reads u8 \"007\" = 7", "reads u8 \"007\" = wrong"),
        (
            r#"pair [1,"Ann"] = '[1,"Ann"]'"#,
            r#"pair [1,"Ann"] = '[1, "Ann"]'"#,
        ),
        (
            "request {\"balance\":{}} = 02",
            "request {\"balance\":{}} = 03",
        ),
        (
            "outcome {\"is\":{\"Cents\":0}} = 08 00",
            "outcome {\"is\":{\"Cents\":0}} = nothing",
        ),
    ] {
        let (before, _) = WIRE.split_once(&format!("\n{vector}")).expect(vector);
        std::fs::write(path, WIRE.replacen(vector, altered, 1)).expect("it is a file");
        let finished = python(path).await;
        let place = format!("{path}:{}: ", before.lines().count() + 1);
        assert!(
            finished.stderr.starts_with(&place),
            "{vector}: {}",
            finished.stderr
        );
        assert_eq!(
            (finished.status.code(), finished.stderr.lines().count()),
            (Some(1), 1)
        );
    }
}

/// A block of a name that is never run would say anything.
#[test]
fn no_vectors_are_left_over() {
    let sources = [include_str!("framings.rs"), include_str!("formats.rs")];
    for name in names() {
        let call = format!("\"{name}\",");
        assert!(sources.iter().any(|it| it.contains(&call)), "{name}");
    }
}

#[test]
fn each_kind_has_a_row_and_vectors() {
    for (name, kind) in KINDS {
        let code = kind.code();
        let row = format!("| `{code:02x}` | {} |", name.replace('-', " "));
        assert!(WIRE.contains(&row), "{row}");
        assert!(WIRE.contains(&format!("\nreject {name} ")), "{name}");
        assert!(WIRE.contains(&format!("control {code:02x} ")), "{name}");
    }
    let reserved = [(0x08, 0x3f), (0x3f, 0x3f), (0x44, 0x40), (0x7f, 0x40)];
    for (code, read_as) in reserved {
        let kind = RejectionKind::from_code(code).expect("a rejection");
        assert_eq!(kind.code(), read_as, "{code:02x}");
    }
    for (name, announcement) in ANNOUNCED {
        let row = format!(
            "| `{:02x}` | {name}s, a notice",
            Notice::Announce(announcement, 1).code()
        );
        assert!(WIRE.contains(&row), "{row}");
    }
    for (name, notice) in NOTICES {
        let row = format!("| `{:02x}` | {name}", notice.code());
        assert_eq!(WIRE.matches(&row).count(), 2, "{row}");
    }
    for notice in [0x80, 0x81, 0x82, 0x83, 0xff] {
        assert_eq!(RejectionKind::from_code(notice), None);
    }
}

/// Runs all vectors of a framing, of which there are `least` or more.
fn run_vectors<F: Framing>(name: &str, least: usize) {
    let (mut run, mut limit, mut id) = (0, 8 << 20, 0);
    let mut previous = 0;
    for (number, line) in lines(name) {
        if number > previous + 1 {
            // Another block.
            (limit, id) = (8 << 20, 0);
        }
        previous = number;
        if let Some((name, number)) = setting(line) {
            match name {
                "limit" => limit = number.parse().expect("a number"),
                _ => id = number.parse().expect("a number"),
            }
            continue;
        }
        let (given, expected) = line.split_once(" = ").expect("what is expected");
        let expected = expected.split(" then ").map(canonical);
        let expected = expected.collect::<Vec<_>>().join(" then ");
        assert_eq!(outcome::<F>(given, limit, id), expected, "WIRE.md:{number}");
        run += 1;
    }
    assert!(run >= least, "only {run} vectors");
}

/// Writes all bytes of what is expected in hexadecimal.
fn canonical(expected: &str) -> String {
    if let Some((id, expected)) = expected
        .strip_prefix("id ")
        .and_then(|rest| rest.split_once(' '))
    {
        return format!("id {id} {}", canonical(expected));
    }
    let (before, bytes) = match expected.split_once(' ') {
        Some((what @ ("message" | "item" | "event" | "chunk" | "part"), _)) => {
            expected.split_at(what.len() + 1)
        }
        Some(("control", _)) => expected.split_at("control 00 ".len()),
        Some(("error", _)) => {
            let (_, answer) = expected.rsplit_once(", answered ").expect("an answer");
            expected.split_at(expected.len() - answer.len())
        }
        Some(("cannot," | "skip", _)) => (expected, "nothing"),
        _ if ["wait", "half-close", "in band"].contains(&expected) => (expected, "nothing"),
        _ => ("", expected),
    };
    if bytes == "nothing" {
        return expected.to_owned();
    }
    format!("{before}{}", shown(&self::bytes(bytes)))
}

/// Does what stands before the `=`, and writes what came of it as [`canonical`] does.
fn outcome<F: Framing>(given: &str, limit: usize, id: u32) -> String {
    let (verb, rest) = given.split_once(' ').expect("a verb");
    let mut framing = F::default();
    let has_notices = framing.notice(&mut Vec::new(), Notice::Ping);
    assert_eq!(has_notices, F::has_notices(Side::Server));
    framing.set_id(id);
    match verb {
        "send" => send(framing, rest, id),
        "request" if rest.starts_with("ends") => request_end::<F>(rest),
        "request" | "reply" => {
            if verb == "request" {
                framing.set_side(Side::Client);
            }
            match written(&mut framing, &bytes(rest)) {
                Ok(out) => shown_if(!out.is_empty(), &out),
                Err(error) => unsendable(&error),
            }
        }
        "reject" => reject(framing, rest),
        "announce" => announce(framing, rest),
        "notice" => notice(framing, rest),
        "server" => read::<F>(Side::Server, rest, limit),
        "client" => read::<F>(Side::Client, rest, limit),
        other => panic!("unknown verb {other}"),
    }
}

fn request_end<F: Framing>(what: &str) -> String {
    assert_eq!(what, "ends");
    if F::EXCHANGES == Exchanges::OneUntilHalfClose {
        "half-close".to_owned()
    } else {
        "in band".to_owned()
    }
}

fn send<F: Framing>(mut framing: F, message: &str, id: u32) -> String {
    match written(&mut framing, &bytes(message)) {
        Ok(out) => {
            let read = read_until::<F>(Side::Client, &[&out], ReadState::Eof, 8 << 20);
            let [Found::Message(found)] = &read.found[..] else {
                panic!("it is not read again: {read:?}");
            };
            assert_eq!((read.ids, read.error), (vec![id], None));
            // A message with room for its length is read with the length.
            let again = written(&mut framing, found);
            assert_eq!(again.as_ref(), Ok(&out), "it is read again");
            shown(&out)
        }
        Err(error) => unsendable(&error),
    }
}

fn unsendable(error: &FrameError) -> String {
    format!("cannot, \"{error}\"")
}

fn written(framing: &mut impl Framing, message: &[u8]) -> Result<Vec<u8>, FrameError> {
    // Something that stands before it in the buffer must not matter.
    let mut out = b"before".to_vec();
    framing.begin(&mut out);
    out.extend(message);
    framing.finish(&mut out, 6)?;
    Ok(out.split_off(6))
}

fn reject(mut framing: impl Framing, rejection: &str) -> String {
    let (name, text) = rejection.split_once(' ').expect("a text");
    let (_, kind) = KINDS.iter().find(|kind| kind.0 == name).expect("a kind");
    let text = String::from_utf8(bytes(text)).expect("UTF-8");
    let mut out = Vec::new();
    let told = framing.reject(&mut out, &Rejection::new(*kind, text));
    shown_if(told, &out)
}

fn announce(mut framing: impl Framing, what: &str) -> String {
    let (name, count) = what.split_once("s ").expect("a count");
    let (_, announcement) = ANNOUNCED.iter().find(|it| it.0 == name).expect("a name");
    let mut out = Vec::new();
    let notice = Notice::Announce(*announcement, count.parse().expect("a count"));
    let told = framing.notice(&mut out, notice);
    shown_if(told, &out)
}

fn notice(mut framing: impl Framing, what: &str) -> String {
    let name = what.split(' ').next();
    let (_, notice) = NOTICES
        .iter()
        .find(|it| Some(it.0) == name)
        .expect("a name");
    let mut out = Vec::new();
    let told = framing.notice(&mut out, *notice);
    shown_if(told, &out)
}

fn read<F: Framing>(side: Side, what: &str, limit: usize) -> String {
    let what = what.strip_prefix("reads ").expect("`reads`");
    let (what, read_state) = match what.rsplit_once(' ') {
        Some((what, "end")) => (what, ReadState::Eof),
        Some((what, "filled")) => (what, ReadState::MaybeMore),
        _ => (what, ReadState::Idle),
    };
    let bytes = bytes(what);
    let found = read_split::<F>(side, &[&bytes], read_state, limit);
    // A message that is too large is skipped, or at the end an error; and what a client adds to an
    // error is a guess from what has arrived.
    let is_settled =
        (side, read_state) == (Side::Server, ReadState::Idle) || !found.contains("error");
    if F::EXCHANGES == Exchanges::Many && is_settled {
        // However the bytes are split, what is found is the same.
        let each: Vec<_> = bytes.chunks(1).collect();
        assert_eq!(read_split::<F>(side, &each, read_state, limit), found);
    }
    found
}

/// Reads pieces, of which only the last may be the end, and shows the result as the vectors do.
fn read_split<F: Framing>(side: Side, pieces: &[&[u8]], last: ReadState, limit: usize) -> String {
    let read = read_until::<F>(side, pieces, last, limit);
    let found = read.found.iter().zip(&read.ids).map(|(found, id)| {
        let of = if F::HAS_IDS {
            format!("id {id} ")
        } else {
            String::new()
        };
        format!("{of}{}", found_shown(found))
    });
    let mut results: Vec<_> = found.collect();
    if read.waits {
        results.push("wait".to_owned());
    }
    if let Some(error) = read.error {
        let mut out = Vec::new();
        let told = ConnectionFraming::<F>::default().answer_error(&mut out, &error);
        let answer = shown_if(told, &out);
        results.push(format!("error \"{error}\", answered {answer}"));
    }
    results.join(" then ")
}

fn found_shown(found: &Found) -> String {
    match found {
        Found::Message(bytes) => format!("message {}", shown(bytes)),
        Found::Control(kind, text) => format!("control {kind:02x} {}", shown(text)),
        Found::Announced(announcement, bytes) => {
            let known = ANNOUNCED.iter().find(|known| known.1 == *announcement);
            format!("{} {}", known.expect("it has a name").0, shown(bytes))
        }
        Found::Oversized(length) => format!("skip {length}"),
    }
}

fn shown_if(told: bool, bytes: &[u8]) -> String {
    if told {
        return shown(bytes);
    }
    assert!(bytes.is_empty(), "a framing wrote what it did not tell");
    "nothing".to_owned()
}

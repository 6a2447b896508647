//! The steps of a script.

use std::{fs, path::Path, time::Duration};

use tcs::{RejectionKind, framing::Announcement};

use super::message;
use crate::{
    escape::{from_hex, unescaped},
    failure::Failure,
    options::duration,
    payload::View,
};

pub(super) const HELP: &str = r"Each line of a script is a step; lines that begin with # are comments.

  expect TEXT         the next message is TEXT
  expect-start TEXT   the next message begins with TEXT
  expect-until TEXT   messages come, up to one that is TEXT
  expect-any          a message comes
  expect-bytes TEXT   these bytes come, whatever the framing is
  expect-end          the client closes its half
  send TEXT           sends a message
  send-bytes TEXT     sends bytes, without the framing
  event TEXT          sends a message that the framing announces as an event
  item TEXT           the same, as an item of a streamed reply
  reject KIND TEXT    rejects: error, bad-request, too-large, busy, timed-out,
                      failed, cancelled, going-away, idle,
                      too-many-connections, protocol-error
  pause TIME          waits, such as 500ms
  stall, stall TIME   neither reads nor writes until the client closes, or so long
  half-close          closes the sending half
  close, reset        closes the connection, or resets it
  accept              takes the next connection

`expect-hex`, `send-hex` and so on take hexadecimal digits. In TEXT, \n, \r,
\t, \0, \\ and \xNN stand for bytes. The exit code is 0 if the script was
followed, 1 if the client did something else, 2 if the script is wrong, 3 if
nothing can listen, and 4 if the client did nothing within --timeout.";

/// What to do, with the number of its line.
#[derive(Debug)]
pub(super) struct Script(pub(super) Vec<(usize, Step)>);

#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Expect(Vec<u8>),
    ExpectStart(Vec<u8>),
    ExpectUntil(Vec<u8>),
    ExpectAny,
    ExpectBytes(Vec<u8>),
    ExpectEnd,
    Send(Vec<u8>),
    SendBytes(Vec<u8>),
    SendAnnounced(Announcement, Vec<u8>),
    Reject(RejectionKind, String),
    Pause(Duration),
    Stall(Duration),
    HalfClose,
    Close,
    Reset,
    Accept,
}

impl Script {
    pub(super) fn read(path: &Path, view: View) -> Result<Self, Failure> {
        let text = fs::read_to_string(path).map_err(|error| {
            Failure::usage(format_args!("cannot read {}: {error}", path.display()))
        })?;
        let script = Self::parse(&text, view);
        script.map_err(|failure| failure.within(format_args!("{}, ", path.display())))
    }

    fn parse(text: &str, view: View) -> Result<Self, Failure> {
        let mut steps = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let step = step(line, view);
            let step = step.map_err(|it| it.within(format_args!("line {number}: ")))?;
            steps.push((number, step));
        }
        if steps.is_empty() {
            return Err(Failure::usage("the script has no steps")
                .hint("`tcs listen --help-all` explains them"));
        }
        Ok(Self(steps))
    }
}

fn step(line: &str, view: View) -> Result<Step, Failure> {
    let (name, text) = line.split_once(' ').unwrap_or((line, ""));
    let (name, is_hex) = match name.strip_suffix("-hex") {
        Some(name) => (name, true),
        None => (name, false),
    };
    let hex = || from_hex(text).map_err(Failure::usage);
    let bytes = || {
        if is_hex {
            hex()
        } else {
            unescaped(text).map_err(Failure::usage)
        }
    };
    let message = || if is_hex { hex() } else { message(view, text) };
    Ok(match name {
        "expect" => Step::Expect(message()?),
        "expect-start" => Step::ExpectStart(bytes()?),
        "expect-until" => Step::ExpectUntil(message()?),
        "expect-bytes" => Step::ExpectBytes(bytes()?),
        "send" => Step::Send(message()?),
        "send-bytes" => Step::SendBytes(bytes()?),
        "event" => Step::SendAnnounced(Announcement::Events, message()?),
        "item" => Step::SendAnnounced(Announcement::Items, message()?),
        "reject" => {
            let (kind, text) = text.split_once(' ').unwrap_or((text, ""));
            Step::Reject(rejection_kind(kind)?, text.to_owned())
        }
        "pause" => Step::Pause(duration(text).map_err(Failure::usage)?),
        "stall" if text.is_empty() => Step::Stall(Duration::MAX),
        "stall" => Step::Stall(duration(text).map_err(Failure::usage)?),
        _ if is_hex || !text.trim().is_empty() => return Err(unknown(line)),
        "expect-any" => Step::ExpectAny,
        "expect-end" => Step::ExpectEnd,
        "half-close" => Step::HalfClose,
        "close" => Step::Close,
        "reset" => Step::Reset,
        "accept" => Step::Accept,
        _ => return Err(unknown(line)),
    })
}

fn unknown(line: &str) -> Failure {
    Failure::usage(format_args!("`{line}` is not a step"))
        .hint("`tcs listen --help-all` lists all steps")
}

fn rejection_kind(name: &str) -> Result<RejectionKind, Failure> {
    let kind = (0_u8..0x80).filter_map(RejectionKind::from_code);
    let mut kind = kind.filter(|kind| kind.to_string().replace(' ', "-") == name);
    kind.next().ok_or_else(|| {
        Failure::usage(format_args!("`{name}` is not a kind of rejection"))
            .hint("`tcs listen --help-all` lists all kinds")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_steps() {
        let text = "# a comment\nexpect EHLO\\x20me\n\nsend-hex 00 ff\nreject bad-request not you\npause 20ms\nreset";
        let script = Script::parse(text, View::default()).expect("all are steps");
        let expected = [
            (2, Step::Expect(b"EHLO me".to_vec())),
            (4, Step::Send(vec![0, 255])),
            (
                5,
                Step::Reject(RejectionKind::BadRequest, "not you".to_owned()),
            ),
            (6, Step::Pause(Duration::from_millis(20))),
            (7, Step::Reset),
        ];
        assert_eq!(script.0, expected);
    }

    #[test]
    fn wrong_lines_are_told_with_their_number() {
        for (line, said) in [
            ("exspect a", "`exspect a` is not a step"),
            ("half-close 5", "is not a step"),
            ("close-hex 00", "is not a step"),
            ("send-hex 0", "two hexadecimal digits"),
            ("send \\q", "not an escape"),
            ("reject maybe", "`maybe` is not a kind"),
            ("pause x", "500ms"),
        ] {
            let failure = Script::parse(&format!("accept\n{line}"), View::default());
            let message = failure.expect_err(line).message;
            assert!(message.starts_with("line 2: "), "{message}");
            assert!(message.contains(said), "{message}");
        }
        assert!(Script::parse("# nothing\n", View::default()).is_err());
    }
}

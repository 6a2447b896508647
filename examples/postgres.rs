//! A table for the clients of PostgreSQL, such as `psql`.
//!
//! ```text
//! cargo run --example postgres
//! ```
//!
//! It listens on 127.0.0.1:1234 until you press Ctrl-C. It knows two queries: a number, and all of its table. It leaves out:
//! the rest of SQL, logins, TLS, prepared statements (the extended query protocol), transactions, `COPY`, notices, and
//! cancelling.
//!
//! Try: in a second terminal, run `psql -h localhost -p 1234 -c 'SELECT * FROM moons'`.

use tcs::{
    ConcurrentServer, Rejection, RejectionKind, Response,
    framing::{FrameError, Framing, Input, ParsedFrame},
    server_protocol,
};

const MOONS: [(&str, u32); 3] = [("Earth", 1), ("Mars", 2), ("Jupiter", 95)];

/// The first messages have no type before their length. Replies are bytes.
#[derive(Clone, Copy, Default)]
enum Messages {
    #[default]
    StartUp,
    Queries,
    /// An extended query has failed. What follows is skipped, up to `Sync`.
    Skipped,
}

impl Framing for Messages {
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        let type_len = usize::from(!matches!(self, Self::StartUp));
        let Some(header) = input.need(type_len + 4)? else {
            return Ok(None);
        };
        let length = header.iter().skip(type_len);
        let length = length.fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        // It counts itself.
        if length < 4 {
            return Err(FrameError::malformed("invalid message length"));
        }
        ParsedFrame::counted(input, 0, length.saturating_add(type_len))
    }
}

#[server_protocol(framing = Messages, reject_with = in_words)]
fn postgres(message: &[u8], #[framing] framing: &mut Messages) -> Response<Vec<u8>> {
    let ready = message_of(b'Z', b"I");
    if !matches!(framing, Messages::StartUp) {
        return match (message[0], *framing) {
            (b'X', _) => Response::Close,
            (b'S', _) => {
                *framing = Messages::Queries;
                Response::Reply(ready)
            }
            // A flush, and what is skipped.
            (b'H', _) | (_, Messages::Skipped) => Response::NoReply,
            (b'Q', _) => {
                let query = String::from_utf8_lossy(&message[5..]);
                let reply = answer(query.trim_end_matches('\0'));
                let reply = reply.unwrap_or_else(|(state, text)| error("ERROR", state, &text));
                Response::Reply([reply, ready].concat())
            }
            // The extended query protocol: parse, bind, describe, execute, close.
            (b'P' | b'B' | b'D' | b'E' | b'C', _) => {
                *framing = Messages::Skipped;
                Response::Reply(error("ERROR", "0A000", "there are no prepared statements"))
            }
            _ => Response::ReplyAndClose(error("FATAL", "08P01", "invalid message type")),
        };
    }
    match message.get(4..8) {
        // Version 3.0.
        Some([0, 3, 0, 0]) => {
            *framing = Messages::Queries;
            let login = message_of(b'R', &[0; 4]);
            let encoding = message_of(b'S', b"client_encoding\0UTF8\0");
            let version = message_of(b'S', b"server_version\x0015.0\0");
            Response::Reply([login, encoding, version, ready].concat())
        }
        // Neither TLS nor Kerberos.
        Some([4, 210, 22, 47 | 48]) => Response::Reply(b"N".to_vec()),
        Some([4, 210, 22, 46]) => Response::Close, // cancel
        _ => Response::ReplyAndClose(error("FATAL", "0A000", "unsupported frontend protocol")),
    }
}

/// Returns the rows of a query, or an error of SQL with its state.
fn answer(query: &str) -> Result<Vec<u8>, (&'static str, String)> {
    let query = query.trim().trim_end_matches(';');
    let words: Vec<String> = query.split_whitespace().map(str::to_lowercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match *words {
        [] => Ok(message_of(b'I', b"")),
        ["select", number] if number.parse::<i32>().is_ok() => {
            Ok(rows(&[("?column?", INT4)], &[vec![number.to_owned()]]))
        }
        ["select", "*", "from", "moons"] => {
            let columns = [("planet", TEXT), ("moons", INT4)];
            let cells = MOONS.map(|(planet, moons)| vec![planet.to_owned(), moons.to_string()]);
            Ok(rows(&columns, &cells))
        }
        ["select", "*", "from", other] => {
            Err(("42P01", format!("relation {other:?} does not exist")))
        }
        [first, ..] => Err(("42601", format!("syntax error at or near {first:?}"))),
    }
}

/// The number and the width of a type. The width of a text is in each cell.
type Type = (u32, i16);
const INT4: Type = (23, 4);
const TEXT: Type = (25, -1);

fn rows(columns: &[(&str, Type)], rows: &[Vec<String>]) -> Vec<u8> {
    let count = u16::try_from(columns.len())
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    let mut description = count.to_vec();
    for (name, (number, width)) in columns {
        description.extend([name.as_bytes(), &[0; 7], &number.to_be_bytes()].concat());
        // Any modifier, as text.
        description.extend([&width.to_be_bytes()[..], &[0xff; 4], &[0; 2]].concat());
    }
    let mut reply = message_of(b'T', &description);
    for row in rows {
        let cells = row.iter().flat_map(|cell| counted(cell.as_bytes(), 0));
        reply.extend(message_of(
            b'D',
            &count.into_iter().chain(cells).collect::<Vec<_>>(),
        ));
    }
    let tag = format!("SELECT {}\0", rows.len());
    [reply, message_of(b'C', tag.as_bytes())].concat()
}

fn message_of(kind: u8, body: &[u8]) -> Vec<u8> {
    [vec![kind], counted(body, 4)].concat()
}

/// Bytes after their length, which counts `more` than them.
fn counted(bytes: &[u8], more: usize) -> Vec<u8> {
    let length = u32::try_from(bytes.len() + more).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), bytes].concat()
}

fn error(severity: &str, state: &str, text: &str) -> Vec<u8> {
    let text = text.replace('\0', "");
    let body = format!("S{severity}\0V{severity}\0C{state}\0M{text}\0\0");
    message_of(b'E', body.as_bytes())
}

fn in_words(rejection: &Rejection) -> Response<Vec<u8>> {
    let state = match rejection.kind() {
        RejectionKind::TooLarge => "54000",
        RejectionKind::ProtocolError => "08P01",
        RejectionKind::GoingAway => "57P01",
        RejectionKind::TooManyConnections => "53300",
        _ => "58000",
    };
    Response::ReplyAndClose(error("FATAL", state, rejection.text()))
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(Postgres).run()
}

//! A dialogue like SMTP: a greeting, commands in sequence, and mail of several lines.
//!
//! ```text
//! cargo run --example greeting
//! ```
//!
//! It listens on 127.0.0.1:1234 until you press Ctrl-C, and prints the mail that it accepts.
//!
//! Try: in a second terminal, run `nc localhost 1234` and type the lines on the right:
//!
//! ```text
//! 220 mail.example is ready
//!                                 HELO me
//! 250 hello me
//!                                 MAIL FROM:<ann@example>
//! 250 ok
//!                                 RCPT TO:<bob@example>
//! 250 ok
//!                                 DATA
//! 354 end it with a line of a single dot
//!                                 Hello, Bob!
//!                                 .
//! 250 taken
//!                                 QUIT
//! 221 goodbye
//! ```
//!
//! Rejections look like those of SMTP: `500 …` for a command, and `421 …` before the server closes the
//! connection, for example when it is stopped. This is a part of SMTP only, and no mail is sent. Mail
//! servers require `\r\n` at the end of a line (`framing = CrlfLines`), but `nc` sends `\n`.

use tcs::{ConcurrentServer, Rejection, RejectionKind, Response, framing::Lines, server_protocol};

/// The maximum length of a mail in bytes.
const LONGEST: usize = 64 * 1024;

/// The state of a dialogue.
#[derive(Default)]
struct Mail {
    from: Option<String>,
    to: Vec<String>,
    /// The text of the mail, while lines are text and not commands.
    text: Option<String>,
}

#[server_protocol(framing = Lines, greeting = "220 mail.example is ready", reject_with = in_words)]
fn dialogue(line: &str, #[session] mail: &mut Mail) -> Result<Response<String>, String> {
    if mail.text.is_some() {
        return mail.take(line);
    }
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let reply = match verb.to_ascii_uppercase().as_str() {
        "HELO" => format!("250 hello {rest}"),
        "MAIL" if mail.from.is_some() => return Err("there is a sender".to_owned()),
        "MAIL" => {
            mail.from = Some(path(rest, "FROM:")?);
            "250 ok".to_owned()
        }
        "RCPT" if mail.from.is_none() => return Err("MAIL comes first".to_owned()),
        "RCPT" => {
            mail.to.push(path(rest, "TO:")?);
            "250 ok".to_owned()
        }
        "DATA" if mail.to.is_empty() => return Err("RCPT comes first".to_owned()),
        "DATA" => {
            mail.text = Some(String::new());
            "354 end it with a line of a single dot".to_owned()
        }
        "RSET" => {
            *mail = Mail::default();
            "250 ok".to_owned()
        }
        "NOOP" => "250 ok".to_owned(),
        "QUIT" => return Ok(Response::ReplyAndClose("221 goodbye".to_owned())),
        _ => return Err(format!("there is no command {verb:?}")),
    };
    Ok(Response::Reply(reply))
}

impl Mail {
    /// Adds a line of the text. Only the last line gets a reply.
    fn take(&mut self, line: &str) -> Result<Response<String>, String> {
        let text = self.text.get_or_insert_default();
        if line != "." {
            // A dot at the start of a line is doubled by the sender (RFC 5321, section 4.5.2).
            let line = line.strip_prefix('.').unwrap_or(line);
            // A mail that is too long is read to its end, and then rejected.
            if text.len() <= LONGEST {
                text.push_str(line);
                text.push('\n');
            }
            return Ok(Response::NoReply);
        }
        let Self { from, to, text } = std::mem::take(self);
        let (from, text) = (from.unwrap_or_default(), text.unwrap_or_default());
        if text.len() > LONGEST {
            return Err("the mail is too long".to_owned());
        }
        print!("from {from} to {}:\n{text}", to.join(", "));
        Ok(Response::Reply("250 taken".to_owned()))
    }
}

/// Parses `FROM:<ann@example>`.
fn path(text: &str, before: &str) -> Result<String, String> {
    let named = text
        .get(..before.len())
        .filter(|start| start.eq_ignore_ascii_case(before))
        .and_then(|start| text.strip_prefix(start));
    let path = named.and_then(|rest| rest.trim().strip_prefix('<')?.strip_suffix('>'));
    path.map(str::to_owned)
        .ok_or_else(|| format!("it has the form {before}<name@host>"))
}

/// Formats a rejection as a reply of SMTP (RFC 5321, section 4.2).
fn in_words(rejection: &Rejection) -> String {
    let text = rejection.text();
    match rejection.kind() {
        RejectionKind::Error | RejectionKind::BadRequest => format!("500 {text}"),
        kind if kind.is_final() => format!("421 {text}"),
        _ => format!("451 {text}"),
    }
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(Dialogue).run()
}

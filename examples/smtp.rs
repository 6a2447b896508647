//! A mail server for the clients of SMTP, with STARTTLS and pipelining. It prints the mail that it takes.
//!
//! ```text
//! cargo run -p tcs-examples --features tls --example smtp
//! ```
//!
//! It listens on 127.0.0.1:1234 until you press Ctrl-C, and prints the folder of the certificate that it makes for itself.
//! It leaves out: sending mail, logins (`AUTH`), parameters of `MAIL` and `RCPT`, `VRFY` and `HELP`.
//!
//! Try: in a second terminal, in that folder, run
//!
//! ```text
//! printf 'Subject: hello\n\n.dots\n' | curl --cacert cert.pem --ssl-reqd smtp://localhost:1234 --mail-from ann@a.example --mail-rcpt bob@b.example -T -
//! ```

use std::{env, fs, mem::take};

use tcs::framing::{CrlfText, unstuffed};
use tcs::protocol::Lossy;
use tcs::transport::{Tls, TlsInfo, create_self_signed};
use tcs::{ConcurrentServer, Rejection, RejectionKind, Response, server_protocol};

/// The limits of a mail. A server must take at least these (RFC 5321, section 4.5.3.1).
const MAX_RECIPIENTS: usize = 100;
const MAX_PATH_LEN: usize = 256;

#[derive(Default)]
struct Mail {
    from: Option<String>,
    to: Vec<String>,
    /// Whether the next request is the text of the mail.
    is_text_due: bool,
}

#[server_protocol(framing = CrlfText, greeting = "220 mail.example ESMTP", reject_with = in_words)]
fn smtp(
    request: Lossy<'_>,
    #[framing] framing: &mut CrlfText,
    #[session] mail: &mut Mail,
    tls: Option<&TlsInfo>,
) -> Result<Response<&'static str>, String> {
    if mail.is_text_due {
        let Mail { from, to, .. } = take(mail);
        let (from, text) = (from.unwrap_or_default(), unstuffed(&request));
        // Escaped: what a peer sends could control a terminal.
        println!("from {from:?} to {to:?}: {text:?}");
        return Ok(Response::Reply("250 taken"));
    }
    let (verb, rest) = request.split_once(' ').unwrap_or((&request, ""));
    let verb = verb.to_ascii_uppercase();
    if ["HELO", "EHLO", "RSET", "STARTTLS"].contains(&verb.as_str()) {
        *mail = Mail::default();
    }
    Ok(Response::Reply(match verb.as_str() {
        "HELO" => "250 mail.example",
        "EHLO" if tls.is_some() => "250-mail.example\n250-PIPELINING\n250 8BITMIME",
        "EHLO" => "250-mail.example\n250-PIPELINING\n250-8BITMIME\n250 STARTTLS",
        "STARTTLS" if tls.is_none() => return Ok(Response::StartTls("220 go ahead")),
        "MAIL" if mail.from.is_none() => {
            mail.from = Some(path(rest, "FROM:")?);
            "250 ok"
        }
        "RCPT" if mail.to.len() == MAX_RECIPIENTS => {
            return Err("452 too many recipients".to_owned());
        }
        "RCPT" if mail.from.is_some() => {
            mail.to.push(path(rest, "TO:")?);
            "250 ok"
        }
        "DATA" if !mail.to.is_empty() => {
            mail.is_text_due = true;
            framing.read_text();
            "354 end it with a line of a single dot"
        }
        "RSET" | "NOOP" => "250 ok",
        "QUIT" => return Ok(Response::ReplyAndClose("221 goodbye")),
        "MAIL" | "RCPT" | "DATA" | "STARTTLS" => return Err("503 not now".to_owned()),
        _ => return Err(format!("500 there is no command {verb:?}")),
    }))
}

/// Reads `FROM:<ann@example>`.
fn path(text: &str, before: &str) -> Result<String, String> {
    let (start, path) = text.split_once('<').unwrap_or_default();
    match path.split_once('>') {
        // The path has two brackets.
        Some((path, _)) if path.len() + 2 > MAX_PATH_LEN => {
            Err("501 the path is too long".to_owned())
        }
        Some((path, _)) if start.trim_end().eq_ignore_ascii_case(before) => Ok(path.to_owned()),
        _ => Err(format!("501 it has the form {before}<name@host>")),
    }
}

/// Errors of the function have their code (RFC 5321, section 4.2).
fn in_words(rejection: &Rejection) -> Response<String> {
    match rejection.kind() {
        RejectionKind::Error => Response::Reply(rejection.text().to_owned()),
        // What follows may be the text of a mail, and no command.
        _ => Response::ReplyAndClose(format!("421 {}", rejection.text())),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = env::temp_dir().join("tcs-example-tls");
    fs::create_dir_all(&folder)?;
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    create_self_signed(&cert, &key)?;
    println!("{}", folder.display());
    let server = ConcurrentServer::new(Smtp).start_tls(Tls::from_pem(&cert, &key)?);
    Ok(server.max_frame_len(1 << 20).run()?)
}

//! A mail server for the clients of SMTP, with STARTTLS and pipelining. It prints the mail that it takes.
//!
//! ```text
//! cargo run -p tcs-examples --features tls --example smtp
//! ```
//!
//! It listens on 127.0.0.1:1234 until you press Ctrl-C, and prints the path of the certificate that it makes for itself.
//! It leaves out: sending mail, logins (`AUTH`), parameters of `MAIL` and `RCPT`, `VRFY` and `HELP`.
//!
//! Try: in a second terminal, with that path, run
//!
//! ```text
//! printf 'Subject: hello\n\n.dots\n' | curl --cacert PATH --ssl-reqd smtp://localhost:1234 --mail-from ann@a.example --mail-rcpt bob@b.example -T -
//! ```

use std::{env::temp_dir, mem::take};

use tcs::Response::{Reply, ReplyAndClose, StartTls};
use tcs::framing::{CrlfText, NO_TELNET, unstuffed};
use tcs::transport::{Tls, TlsInfo, create_self_signed};
use tcs::{ConcurrentServer, Rejection, Response, protocol::Lossy, server_protocol};

/// The limits of a mail. A server must take at least these (RFC 5321, section 4.5.3.1).
const MAX_RECIPIENTS: usize = 100;
const MAX_PATH_LEN: usize = 254; // without its brackets

#[server_protocol(framing = CrlfText<NO_TELNET>, greeting = "220 mail.example ESMTP", reject_with = in_words)]
fn smtp(
    request: Lossy<'_>,
    #[framing] framing: &mut CrlfText<NO_TELNET>,
    // Those of the sender and of the recipients.
    #[session] paths: &mut Vec<String>,
    tls: Option<&TlsInfo>,
) -> Response<&'static str> {
    if framing.is_text() {
        let (from, to, text) = (paths.remove(0), take(paths), unstuffed(&request));
        // Escaped: what a peer sends could control a terminal.
        println!("from {from:?} to {to:?}: {text:?}");
        return Reply("250 taken");
    }
    // `MAIL FROM:<path>`, or `EHLO name`.
    let path = request
        .split_once('<')
        .and_then(|(verb, rest)| Some((verb, rest.split_once('>')?.0)));
    let (verb, path) = path.or(request.split_once(' ')).unwrap_or((&request, ""));
    let verb = verb.trim_end().to_ascii_uppercase();
    if ["HELO", "EHLO", "RSET", "STARTTLS"].contains(&verb.as_str()) {
        paths.clear();
    }
    Reply(match verb.as_str() {
        "HELO" => "250 mail.example",
        "EHLO" if tls.is_some() => "250-mail.example\n250-PIPELINING\n250 8BITMIME",
        "EHLO" => "250-mail.example\n250-PIPELINING\n250-8BITMIME\n250 STARTTLS",
        "STARTTLS" if tls.is_none() => return StartTls("220 go ahead"),
        "MAIL FROM:" | "RCPT TO:" if path.len() > MAX_PATH_LEN => "501 the path is too long",
        "RCPT TO:" if paths.len() > MAX_RECIPIENTS => "452 too many recipients",
        // The sender comes first, and only once.
        "MAIL FROM:" | "RCPT TO:" if paths.is_empty() == (verb == "MAIL FROM:") => {
            paths.push(path.to_owned());
            "250 ok"
        }
        "DATA" if paths.len() > 1 => {
            framing.read_text();
            "354 end it with a line of a single dot"
        }
        "RSET" | "NOOP" => "250 ok",
        "QUIT" => return ReplyAndClose("221 goodbye"),
        "MAIL FROM:" | "RCPT TO:" | "DATA" | "STARTTLS" => "503 not now",
        "MAIL" | "RCPT" => "501 it has the form `MAIL FROM:<path>` or `RCPT TO:<path>`",
        _ => "500 there is no such command",
    })
}

/// What follows a rejected request may be the text of a mail, and no command.
fn in_words(rejection: &Rejection) -> Response<String> {
    ReplyAndClose(format!("421 {}", rejection.text()))
}

fn main() -> tcs::Result<()> {
    let [cert, key] = ["tcs-smtp-cert.pem", "tcs-smtp-key.pem"].map(|it| temp_dir().join(it));
    create_self_signed(&cert, &key)?;
    println!("{}", cert.display());
    let server = ConcurrentServer::new(Smtp).start_tls(Tls::from_pem(&cert, &key)?);
    server.max_frame_len(1 << 20).run()
}

//! A mail server for the clients of SMTP, with STARTTLS and pipelining. It prints the mail that it takes.
//!
//! ```text
//! cargo run -p tcs-examples --features tls --example smtp
//! ```
//!
//! It listens on 127.0.0.1:1234 until you press Ctrl-C, and prints the folder of the certificate that it makes for itself.
//! It leaves out: sending mail, logins (`AUTH`), parameters of `MAIL` and `RCPT`, `VRFY` and `HELP`, and a limit for the number
//! of recipients.
//!
//! Try: in a second terminal, in that folder, run
//!
//! ```text
//! printf 'Subject: hello\n\n.dots\n' | curl --cacert cert.pem --ssl-reqd smtp://localhost:1234 --mail-from ann@a.example --mail-rcpt bob@b.example -T -
//! ```

use std::{env, fs, mem::take};

use tcs::{
    ConcurrentServer, Rejection, RejectionKind, Response,
    framing::{CrlfText, unstuffed},
    server_protocol,
    transport::{Tls, TlsInfo, create_self_signed},
};

#[derive(Default)]
struct Mail {
    from: Option<String>,
    to: Vec<String>,
    /// Whether the next request is the text of the mail.
    is_text_due: bool,
}

#[server_protocol(framing = CrlfText, greeting = "220 mail.example ESMTP", reject_with = in_words)]
fn smtp(
    request: &[u8],
    #[framing] framing: &mut CrlfText,
    #[session] mail: &mut Mail,
    tls: Option<&TlsInfo>,
) -> Result<Response<String>, String> {
    let request = String::from_utf8_lossy(request);
    if mail.is_text_due {
        let Mail { from, to, .. } = take(mail);
        // Escaped: what a peer sends could control a terminal.
        println!(
            "from {:?} to {to:?}: {:?}",
            from.unwrap_or_default(),
            unstuffed(&request)
        );
        return Ok(Response::Reply("250 taken".to_owned()));
    }
    let (verb, rest) = request.split_once(' ').unwrap_or((&request, ""));
    let verb = verb.to_ascii_uppercase();
    if ["HELO", "EHLO", "RSET", "STARTTLS"].contains(&verb.as_str()) {
        *mail = Mail::default();
    }
    let reply = match verb.as_str() {
        "HELO" => "250 mail.example".to_owned(),
        "EHLO" if tls.is_some() => "250-mail.example\n250-PIPELINING\n250 8BITMIME".to_owned(),
        "EHLO" => "250-mail.example\n250-PIPELINING\n250-8BITMIME\n250 STARTTLS".to_owned(),
        "STARTTLS" if tls.is_none() => return Ok(Response::StartTls("220 go ahead".to_owned())),
        "MAIL" if mail.from.is_none() => {
            mail.from = Some(path(rest, "FROM:")?);
            "250 ok".to_owned()
        }
        "RCPT" if mail.from.is_some() => {
            mail.to.push(path(rest, "TO:")?);
            "250 ok".to_owned()
        }
        "DATA" if !mail.to.is_empty() => {
            mail.is_text_due = true;
            framing.read_text();
            "354 end it with a line of a single dot".to_owned()
        }
        "RSET" | "NOOP" => "250 ok".to_owned(),
        "QUIT" => return Ok(Response::ReplyAndClose("221 goodbye".to_owned())),
        "MAIL" | "RCPT" | "DATA" | "STARTTLS" => return Err("503 not now".to_owned()),
        _ => return Err(format!("500 there is no command {verb:?}")),
    };
    Ok(Response::Reply(reply))
}

/// Reads `FROM:<ann@example>`.
fn path(text: &str, before: &str) -> Result<String, String> {
    let (start, path) = text.split_at_checked(before.len()).unwrap_or_default();
    let path = path
        .trim()
        .strip_prefix('<')
        .and_then(|path| path.split_once('>'));
    match path {
        Some((path, _)) if start.eq_ignore_ascii_case(before) => Ok(path.to_owned()),
        _ => Err(format!("501 it has the form {before}<name@host>")),
    }
}

/// Errors of the function have their code (RFC 5321, section 4.2).
fn in_words(rejection: &Rejection) -> Response<String> {
    let text = rejection.text();
    match rejection.kind() {
        RejectionKind::Error => Response::Reply(text.to_owned()),
        // What follows may be the text of a mail, and no command.
        _ => Response::ReplyAndClose(format!("421 {text}")),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = env::temp_dir().join("tcs-example-tls");
    fs::create_dir_all(&folder)?;
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    create_self_signed(&cert, &key)?;
    println!("{}", folder.display());
    ConcurrentServer::new(Smtp)
        .start_tls(Tls::from_pem(&cert, &key)?)
        .max_frame_len(1 << 20)
        .run()?;
    Ok(())
}

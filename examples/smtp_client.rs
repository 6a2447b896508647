//! A client of SMTP: sends a mail from a file, and prints what the server says.
//!
//! ```text
//! cargo run --example smtp_client mail.txt ann@a.example bob@b.example zoe@z.example
//! ```
//!
//! It sends to 127.0.0.1:1234, where `examples/smtp.rs` is, from the first address to the others. It leaves out: STARTTLS
//! (`Connection::start_tls`), logins (`AUTH`), pipelining, finding the server of an address, trying again later, and text
//! beyond ASCII (`8BITMIME`, `SMTPUTF8`).

use std::{env, error::Error, fs};

use tcs::{
    Connection,
    format::Plain,
    framing::{CodeLines, CrlfText, Duplex},
    protocol::{Contract, Receives},
};

/// A request is a line. A mail is a line, and chunks that are lines, too. So no address and no text can end its line early
/// with a line feed, and say a command.
enum Smtp {}

impl Contract for Smtp {
    type Framing = Duplex<CrlfText, CodeLines>;
    type Format = Plain;
    type Request<'a> = &'a str;
    type Reply<'a> = &'a str;
}

impl Receives for Smtp {
    type Format = Plain;
    type Chunk<'a> = &'a str;
}

/// Fails unless the reply begins with this digit: 2 is success, and 3 asks for more.
fn check(reply: &str, digit: char) -> Result<(), Box<dyn Error>> {
    println!("{reply}");
    if reply.starts_with(digit) {
        Ok(())
    } else {
        Err(reply.into())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [file, from, to @ ..] = &arguments[..] else {
        return Err("name a file, your address, and those of the receivers".into());
    };
    let mail = fs::read_to_string(file)?;
    let addresses = [from].into_iter().chain(to).map(String::as_str);
    if mail
        .lines()
        .chain(addresses)
        .any(|line| line.contains('\r'))
    {
        return Err("a carriage return in a line is a line end for some servers".into());
    }
    let mut server = Connection::connect("127.0.0.1:1234").await?;
    check(server.receive::<&str, Plain>().await?, '2')?;
    let mut commands = vec!["EHLO localhost".to_owned(), format!("MAIL FROM:<{from}>")];
    commands.extend(to.iter().map(|to| format!("RCPT TO:<{to}>")));
    for command in commands {
        check(server.call::<Smtp>(&command).await?, '2')?;
    }
    check(server.call::<Smtp>("DATA").await?, '3')?;
    // The server takes a line of a single dot for the end, and one dot off lines that begin with one.
    let stuffed = |line: &str| [if line.starts_with('.') { "." } else { "" }, line].concat();
    let mut lines = mail.lines().map(stuffed).chain([".".to_owned()]);
    let mut text = server
        .upload::<Smtp>(&lines.next().unwrap_or_default())
        .await?;
    for line in lines {
        text.send(&line).await?;
    }
    check(text.finish().await?, '2')?;
    check(server.call::<Smtp>("QUIT").await?, '2')
}

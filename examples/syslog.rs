//! Collects the log of other machines: syslog over TCP, with the length of each message before it (RFC 6587).
//!
//! ```text
//! cargo run --example syslog
//! ```
//!
//! It prints the priority and the message of each. It leaves out TLS (RFC 5425, which is `.tls(…)`), messages that end
//! with a line feed in place of a length, and the structure of messages after the priority.
//!
//! Try: `logger --tcp --octet-count --server localhost --port 1234 hello`.

use tcs::{ConcurrentServer, Response, framing::Digits, server_protocol};

const SEVERITIES: [&str; 8] = [
    "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
];

#[server_protocol(framing = Digits<b' '>)]
fn syslog(message: &[u8]) -> Response<()> {
    // Old senders use other encodings.
    let message = String::from_utf8_lossy(message);
    let priority = message.strip_prefix('<').and_then(|it| it.split_once('>'));
    // Without a priority, it is that of a user's notice (RFC 3164, section 4.3.3).
    let (priority, text) = match priority.map(|(digits, text)| (digits.parse(), text)) {
        Some((Ok(priority @ 0..192), text)) => (priority, text),
        _ => (13, &*message),
    };
    println!("{}.{} {text:?}", priority / 8, SEVERITIES[priority % 8]);
    Response::NoReply
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(Syslog).run()
}

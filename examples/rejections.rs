//! What a client gets in place of a reply, and what the server's report counts.
//!
//! ```text
//! cargo run --example rejections
//! ```
//!
//! For each case, a server that answers one request, and a client. It prints the result of the call, its
//! `execution()`, and the field of the report:
//!
//! ```text
//! LengthPrefixed
//! err: Rejected, error: no such name, Failed; served 1
//! panic: Rejected, failed: the function panicked, Failed; failed 1
//! timeout: Rejected, timed out: no reply within 50ms (`request_timeout`), Failed; failed 1
//! bad request: Rejected, bad request: no, Rejected; rejected 1
//! busy: Rejected, busy: later, Rejected; rejected 1
//! as text: Rejected, error: busy: later, Failed; served 1
//! Lines
//! err: Ok("no such name"); served 1
//! panic: Closed, Unknown; failed 1
//! timeout: Closed, Unknown; failed 1
//! bad request: Closed, Unknown; rejected 1
//! busy: Closed, Unknown; rejected 1
//! as text: Ok("busy: later"); served 1
//! ```
//!
//! Try: add `reject_with` to the protocol. The framing `Lines` then sends its messages.

use std::{future::pending, marker::PhantomData, time::Duration};

use tcs::{
    Connection, OnceServer, Peer, Rejection,
    format::Plain,
    framing::{Framing, LengthPrefixed, Lines},
    protocol::{Context, ServerProtocol},
    server::Report,
};

const CASES: [&str; 6] = ["err", "panic", "timeout", "bad request", "busy", "as text"];

/// Gives no reply, in the way that the request names.
struct NoReply<F>(PhantomData<fn() -> F>);

impl<F: Framing> ServerProtocol for NoReply<F> {
    type Framing = F;
    type Format = Plain;
    type Session = ();
    type Request<'a> = &'a str;
    type Reply<'a> = Result<String, Rejection>;

    fn open_session(&self, _peer: &Peer) {}

    async fn process_request(
        &self,
        _context: Context<'_, ()>,
        case: &str,
    ) -> Result<Result<String, Rejection>, Rejection> {
        match case {
            "err" => Ok(Err(Rejection::error("no such name"))),
            "panic" => panic!("a defect"),
            "timeout" => pending().await,
            "bad request" => Err(Rejection::bad_request("no")),
            "busy" => Err(Rejection::busy("later")),
            // As an `Err` of the function, a rejection is only its text.
            _ => Ok(Err(Rejection::busy("later"))),
        }
    }
}

async fn print_case<F: Framing>(case: &str) -> tcs::Result<()> {
    let server = OnceServer::new(NoReply::<F>(PhantomData))
        .request_timeout(Duration::from_millis(50))
        .port(0)
        .bind()
        .await?;
    let addr = server.local_addr();
    let server = tokio::spawn(server.listen());

    let mut connection = Connection::connect(addr).await?;
    print!("{case}: ");
    match connection.call::<NoReply<F>>(case).await {
        Ok(reply) => print!("Ok({reply:?})"),
        Err(error) => {
            print!("{:?}, ", error.kind());
            if let Some(rejection) = error.rejection() {
                print!("{}: {}, ", rejection.kind(), rejection.text());
            }
            print!("{:?}", error.execution());
        }
    }
    println!("; {}", outcome(&server.await.expect("no panic")?));
    Ok(())
}

/// Returns the outcome of the only request.
fn outcome(report: &Report) -> String {
    let requests = report.requests;
    let outcomes = [
        ("served", requests.served),
        ("failed", requests.failed),
        ("rejected", requests.rejected),
        ("aborted", requests.aborted),
    ];
    let counted = outcomes.iter().filter(|(_, count)| *count > 0);
    counted
        .map(|(name, count)| format!("{name} {count}"))
        .collect()
}

#[tokio::main]
async fn main() -> tcs::Result<()> {
    // The panic is one of the cases, so its message is not printed.
    std::panic::set_hook(Box::new(|_| {}));
    println!("LengthPrefixed");
    for case in CASES {
        print_case::<LengthPrefixed>(case).await?;
    }
    println!("Lines");
    for case in CASES {
        print_case::<Lines>(case).await?;
    }
    Ok(())
}

//! What a client gets in place of a reply, and what the server's report counts.
//!
//! ```text
//! cargo run --example rejections
//! ```
//!
//! For each case, a server that answers one request, and a client. It prints the result of the call, its
//! `execution()`, and the outcome in the report:
//!
//! ```text
//! LengthPrefixed
//! err: Rejected, Rejection(Error, "no such name"), Executed; served
//! panic: Rejected, Rejection(Failed, "the function panicked"), Executed; failed
//! timeout: Rejected, Rejection(TimedOut, "no reply within 50ms (`request_timeout`)"), Executed; failed
//! bad request: Rejected, Rejection(BadRequest, "no"), NotExecuted; rejected
//! busy: Rejected, Rejection(Busy, "later"), NotExecuted; rejected
//! as text: Rejected, Rejection(Error, "busy: later"), Executed; served
//! Lines
//! err: Ok("no such name"); served
//! panic: Closed, Unknown; failed
//! timeout: Closed, Unknown; failed
//! bad request: Closed, Unknown; rejected
//! busy: Closed, Unknown; rejected
//! as text: Ok("busy: later"); served
//! ```
//!
//! Try: add `reject_with` to the protocol. The framing `Lines` then sends its messages.

use std::{future::pending, marker::PhantomData, time::Duration};

use tcs::{
    Connection, ConnectionInfo, OnceServer, Rejection,
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

    fn open_session(&self, _info: &ConnectionInfo) {}

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
                print!("{rejection:?}, ");
            }
            print!("{:?}", error.execution());
        }
    }
    println!("; {}", outcome(&server.await.expect("no panic")?));
    Ok(())
}

/// Returns the outcome of the only request.
fn outcome(report: &Report) -> &'static str {
    let requests = report.requests;
    let outcomes = [
        ("served", requests.served),
        ("failed", requests.failed),
        ("rejected", requests.rejected),
        ("aborted", requests.aborted),
    ];
    let counted = outcomes.iter().find(|(_, count)| *count == 1);
    counted.map_or("not received", |(name, _)| name)
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

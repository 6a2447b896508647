//! Each form of a function that words refusals.

use tcs::{Response, Lines, Raw, Rejection, RejectionKind, server_protocol};

#[server_protocol(framing = Lines, refuse = text)]
fn borrowed(_: ()) {}

fn text(refusal: &Rejection) -> &str {
    refusal.text()
}

#[server_protocol(framing = Raw, refuse = words::owned)]
fn owned(_: ()) {}

mod words {
    pub(crate) fn owned(refusal: &tcs::Rejection) -> String {
        format!("{}\n", refusal.kind())
    }
}

#[server_protocol(framing = Lines, refuse = Words::of, crate = tcs)]
async fn method(_: (), #[session] _count: &mut u32) {}

struct Words;

impl Words {
    fn of(refusal: &Rejection) -> Response<&'static str> {
        match refusal.kind() {
            RejectionKind::Idle => Response::ReplyAndClose("bye"),
            RejectionKind::Error => Response::NoReply,
            _ => Response::Reply("sorry"),
        }
    }
}

#[server_protocol(framing = Lines, refuse = opaque, blocking)]
fn generic<T: Send + Sync + 'static>(_: (), #[state] _state: &T) {}

fn opaque(refusal: &Rejection) -> impl tcs::Encode<tcs::Plain> {
    refusal.text()
}

fn main() {}

//! Each form of a function that words rejections.

use tcs::{Rejection, RejectionKind, Response, framing::{Lines, Raw}, server_protocol};

#[server_protocol(framing = Lines, reject_with = text)]
fn borrowed(_: ()) {}

fn text(rejection: &Rejection) -> &str {
    rejection.text()
}

#[server_protocol(framing = Raw, reject_with = words::owned)]
fn owned(_: ()) {}

mod words {
    pub(crate) fn owned(rejection: &tcs::Rejection) -> String {
        format!("{}\n", rejection.kind())
    }
}

#[server_protocol(framing = Lines, reject_with = Words::of, crate = tcs)]
async fn method(_: (), #[session] _count: &mut u32) {}

struct Words;

impl Words {
    fn of(rejection: &Rejection) -> Response<&'static str> {
        match rejection.kind() {
            RejectionKind::Idle => Response::ReplyAndClose("bye"),
            RejectionKind::Error => Response::NoReply,
            _ => Response::Reply("sorry"),
        }
    }
}

#[server_protocol(framing = Lines, reject_with = opaque, blocking)]
fn generic<T: Send + Sync + 'static>(_: (), #[state] _state: &T) {}

fn opaque(rejection: &Rejection) -> impl tcs::format::Encode<tcs::format::Plain> {
    rejection.text()
}

fn main() {}

//! Functions of each kind that take their time, by attribute.

use std::{
    hint::spin_loop,
    time::{Duration, Instant},
};

use tcs::{Json, server_protocol};
use tokio::task::yield_now;

/// Keeps the processor for so long.
fn work(cost: Duration) {
    let began = Instant::now();
    while began.elapsed() < cost {
        spin_loop();
    }
}

#[server_protocol]
pub fn sync_work((): (), #[state] cost: &Duration) {
    work(*cost);
}

#[server_protocol]
pub async fn ready_work((): (), #[state] cost: &Duration) {
    work(*cost);
}

#[server_protocol]
pub async fn waiting_work((): (), #[state] cost: &Duration) {
    yield_now().await;
    work(*cost);
}

#[server_protocol(blocking)]
pub fn blocking_work((): (), #[state] cost: &Duration) {
    work(*cost);
}

/// All of them; a request is `{"sync":{}}`.
#[server_protocol(format = Json)]
pub mod works {
    use super::{Duration, work, yield_now};

    pub fn sync(#[state] cost: &Duration) {
        work(*cost);
    }

    pub async fn ready(#[state] cost: &Duration) {
        work(*cost);
    }

    pub async fn waiting(#[state] cost: &Duration) {
        yield_now().await;
        work(*cost);
    }

    #[blocking]
    pub fn blocks(#[state] cost: &Duration) {
        work(*cost);
    }
}

/// Runs a generic function, which takes a protocol, its request and its reply, as a test for each kind of
/// function; those of a module among them.
///
/// What is in parentheses is what each call costs, in microseconds.
#[macro_export]
macro_rules! each_work {
    ($($test:ident($cost:expr)),+ $(,)?) => {$(
        mod $test {
            use $crate::{frame, work::*};

            const COST: std::time::Duration = std::time::Duration::from_micros($cost);

            #[test]
            fn sync() {
                super::$test(SyncWork::new(COST), &frame(b""), &frame(b""));
            }

            #[test]
            fn ready_async() {
                super::$test(ReadyWork::new(COST), &frame(b""), &frame(b""));
            }

            #[test]
            fn waiting() {
                super::$test(WaitingWork::new(COST), &frame(b""), &frame(b""));
            }

            #[test]
            fn blocking() {
                super::$test(BlockingWork::new(COST), &frame(b""), &frame(b""));
            }

            #[test]
            fn sync_of_a_module() {
                of_a_module("sync");
            }

            #[test]
            fn ready_async_of_a_module() {
                of_a_module("ready");
            }

            #[test]
            fn waiting_of_a_module() {
                of_a_module("waiting");
            }

            #[test]
            fn blocking_of_a_module() {
                of_a_module("blocks");
            }

            fn of_a_module(operation: &str) {
                let request = format!("{{\"{operation}\":{{}}}}");
                let reply = format!("{{\"{operation}\":null}}");
                let (request, reply) = (frame(request.as_bytes()), frame(reply.as_bytes()));
                super::$test(works::Protocol::new(COST), &request, &reply);
            }
        }
    )+};
}

//! A panic while the reply of an operation is read closes the connection: nobody knows whose reply it was.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
};

use serde::{Deserialize, Deserializer, Serialize};
use tcs::{Error, ErrorKind, Execution, format::Json, server_protocol};
use tcs_tests::{
    client::told,
    frame,
    script::{Script, expects, expects_end, sends, serve},
    within,
};

/// A reply that panics when it is read.
#[derive(Serialize)]
struct Fuse;

impl<'de> Deserialize<'de> for Fuse {
    fn deserialize<D: Deserializer<'de>>(_deserializer: D) -> Result<Self, D::Error> {
        panic!("on purpose")
    }
}

#[server_protocol(format = Json)]
mod operations {
    use super::Fuse;

    pub fn light() -> Fuse {
        Fuse
    }

    pub fn word<'a>() -> &'a str {
        "word"
    }
}

/// A client of a server that expects this request, sends this reply, and then expects the end.
async fn replying(request: &str, reply: &str) -> (operations::Client, Script) {
    let steps = [expects(frame(request)), sends(frame(reply)), expects_end()];
    let (addr, server) = serve(steps).await;
    let client = within(operations::Client::connect(addr)).await;
    (client.expect("it listens"), server)
}

/// Fails unless the future panics.
async fn panics(future: impl Future) {
    let mut future = pin!(future);
    let panicked =
        poll_fn(
            |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
                Ok(poll) => poll.map(|_| false),
                Err(_) => Poll::Ready(true),
            },
        );
    assert!(within(panicked).await, "there was no panic");
}

fn assert_out_of_step(error: &Error) {
    assert_eq!(told(error), (ErrorKind::Broken, Execution::NotSent));
    let text = error.to_string();
    let reason = "an earlier message was not the reply of its operation";
    assert!(text.ends_with(reason), "{text}");
}

#[tokio::test]
async fn panic_while_a_reply_is_read_closes_the_connection() {
    let (mut client, server) = replying(r#"{"light":{}}"#, r#"{"light":null}"#).await;
    panics(client.light()).await;
    let error = within(client.word()).await.map(drop);
    assert_out_of_step(&error.expect_err("it is closed"));
    server.finished().await;
}

#[tokio::test]
async fn panic_while_a_reply_is_processed_closes_the_channel() {
    let (client, server) = replying(r#"{"word":{}}"#, r#"{"word":"word"}"#).await;
    let client = client.into_channel().expect("it is usable");
    panics(client.word(|word| assert_eq!(word, "", "on purpose"))).await;
    server.finished().await;
    let error = within(client.word(str::len)).await;
    assert_out_of_step(&error.expect_err("it is closed"));
}

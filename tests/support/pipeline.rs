//! What the tests of pipelines ask, and what they hear.

use std::{future::poll_fn, pin::pin, task::Poll};

use tcs::{Error, client::Pipeline};

use crate::{client::Prefixed, within};

/// Sends all of `requests`.
pub async fn send(pipeline: &mut Pipeline<'_, Prefixed>, requests: &[&str]) {
    for request in requests {
        within(pipeline.send(request)).await.expect("there is room");
    }
}

/// Receives a reply.
pub async fn receive(pipeline: &mut Pipeline<'_, Prefixed>) -> Result<String, Error> {
    let reply = within(pipeline.receive()).await?;
    Ok(reply.expect("something is in flight").to_owned())
}

/// Receives an error in place of a reply.
pub async fn failure(pipeline: &mut Pipeline<'_, Prefixed>) -> Error {
    receive(pipeline).await.expect_err("no reply")
}

/// Begins to receive, and tells whether that waits; what was begun is dropped.
pub async fn waits(pipeline: &mut Pipeline<'_, Prefixed>) -> bool {
    poll_fn(|cx| {
        let mut received = pin!(pipeline.receive());
        Poll::Ready(received.as_mut().poll(cx).is_pending())
    })
    .await
}

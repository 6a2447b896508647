//! A channel keeps each request until its reply, and no longer, and not more than a few MiB of them.
//!
//! One test in a process of its own, because the allocator is the process's.

use std::{sync::Arc, time::Duration};

use peak_alloc::PeakAlloc;
use tcs::{Channel, client::ConnectOptions};
use tcs_tests::{
    RawPeer,
    channel::{Owned, call, settle},
    code, control, frame,
    lasting::lasting,
    patiently,
};
use tokio::task::JoinSet;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const LARGE: usize = 8_000_000;

/// What becomes of a large request.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Answered,
    Rejected,
    Lost,
    /// Its call ends before the reply comes, which then comes.
    Dropped,
    Late,
}

#[tokio::test(start_paused = true)]
async fn request_leaves_no_memory_behind() {
    let fates = [
        Fate::Answered,
        Fate::Rejected,
        Fate::Lost,
        Fate::Dropped,
        Fate::Late,
    ];
    for reply_timeout in [None, Some(Duration::from_hours(1))] {
        for fate in fates {
            let kept = kept_after(fate, reply_timeout).await;
            assert!(kept < 1 << 20, "{fate:?}, {reply_timeout:?}: {kept}");
        }
    }
    requests_that_are_never_answered_are_kept_up_to_a_limit().await;
}

/// The most bytes of requests that a connection keeps: 4 MiB, the last one, and what their buffers have grown to.
const MAX_KEPT: usize = 8_000_000;

async fn requests_that_are_never_answered_are_kept_up_to_a_limit() {
    const LENGTH: usize = 500_000;
    let (options, mut attempts) = lasting();
    let channel: Channel = options.connect_lazily().expect("good options");
    let text: Arc<str> = "x".repeat(LENGTH).into();
    let before = ALLOCATOR.current_usage();
    let mut calls = JoinSet::new();
    let mut peer = None;
    for _ in 0..60 {
        let (channel, text) = (channel.clone(), Arc::clone(&text));
        calls.spawn(async move { channel.call::<Owned>(&text).await });
        let peer = match &mut peer {
            Some(peer) => peer,
            none => none.insert(attempts.accept().await),
        };
        take(peer, LENGTH).await;
    }
    let kept = ALLOCATOR.current_usage().saturating_sub(before);
    assert!(kept < MAX_KEPT, "{kept}");
}

/// Returns how much memory a channel has after a large request, while a small one waits for its reply.
async fn kept_after(fate: Fate, reply_timeout: Option<Duration>) -> usize {
    let (options, mut attempts) = lasting();
    let connect = ConnectOptions::new().reply_timeout(reply_timeout);
    let options = options.connect_options(connect).idle_timeout(None);
    let channel: Channel = options.connect_lazily().expect("good options");
    let text = "x".repeat(LARGE);
    let before = ALLOCATOR.current_usage();
    let large = match fate {
        Fate::Late => call(&channel.deadline(Duration::from_secs(1)), &text),
        _ => call(&channel, &text),
    };
    let mut peer = attempts.accept().await;
    take(&mut peer, LARGE).await;
    match fate {
        Fate::Answered => {
            patiently(peer.send(frame("done"))).await;
            assert_eq!(large.outcome().await.expect("a reply"), "done");
        }
        Fate::Rejected => {
            patiently(peer.send(control(code::ERROR, "why"))).await;
            drop(large.outcome().await.expect_err("it was rejected"));
        }
        Fate::Lost => {
            drop(peer);
            drop(large.outcome().await.expect_err("it was lost"));
            let small = call(&channel, "small");
            peer = attempts.accept().await;
            assert_eq!(patiently(peer.ask_back()).await, "small");
            small.reply().await;
        }
        Fate::Dropped => large.drop().await,
        Fate::Late => drop(large.outcome().await.expect_err("it is late")),
    }
    if let Fate::Dropped | Fate::Late = fate {
        patiently(peer.send(frame("done"))).await;
    }
    let small = call(&channel, "small");
    settle().await;
    let kept = ALLOCATOR.current_usage().saturating_sub(before);
    drop((small, peer));
    kept
}

/// Receives a request of this length, in parts.
async fn take(peer: &mut RawPeer, length: usize) {
    let mut left = 4 + length;
    while left > 0 {
        let part = left.min(1 << 10);
        drop(patiently(peer.receive(part)).await);
        left -= part;
    }
}

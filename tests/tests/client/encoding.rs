//! The user's code that encodes a request runs without a lock.

use std::{
    pin::pin,
    sync::mpsc::{Receiver, channel as std_channel},
    task::{Context, Waker},
    thread,
};

use tcs::{
    Channel,
    format::{Encode, EncodeError, Plain, Writer},
    framing::LengthPrefixed,
    protocol::Contract,
};
use tcs_tests::{LIMIT, RawPeer, channel::call, client::Prefixed, memory, patiently, within};
use tokio::task::JoinHandle;

/// Longer than anything takes here.
struct Runs(Box<dyn FnOnce() + Send>);

impl<Format> Encode<Format> for Runs {
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        (self.0)();
        out.put(b"encoded");
        Ok(())
    }
}

#[derive(Debug)]
enum Running {}

impl Contract for Running {
    type Framing = LengthPrefixed;
    type Format = Plain;
    type Request<'a> = Runs;
    type Reply<'a> = String;
}

/// Calls with a request that runs `encode`.
fn running(channel: &Channel, encode: impl FnOnce() + Send + 'static) -> JoinHandle<String> {
    let channel = channel.clone();
    tokio::spawn(async move {
        let reply = channel.call::<Running>(Runs(Box::new(encode))).await;
        reply.expect("a reply")
    })
}

async fn echoes(peer: &mut RawPeer, request: &str) {
    assert_eq!(patiently(peer.ask_back()).await, request);
}

/// A lock that is taken twice on a thread keeps it for ever, so it is not the thread of the test.
fn ends_in_time(test: impl FnOnce() + Send + 'static) {
    let (end, ended) = std_channel();
    thread::spawn(move || {
        test();
        end.send(()).expect("it is waited for");
    });
    ended.recv_timeout(LIMIT).expect("it ends");
}

#[test]
fn request_can_use_the_channel_while_it_is_encoded() {
    ends_in_time(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.expect("a runtime").block_on(async {
            let (channel, mut peer) = memory::channel(1 << 10);
            let nested = channel.clone();
            let outer = running(&channel, move || {
                assert!(nested.peer().addr().is_none());
                let mut cx = Context::from_waker(Waker::noop());
                let call = pin!(nested.call_with::<Prefixed, _>("nested", str::len));
                assert!(call.poll(&mut cx).is_pending());
            });
            echoes(&mut peer, "nested").await;
            echoes(&mut peer, "encoded").await;
            assert_eq!(within(outer).await.expect("no panic"), "encoded");
        });
    });
}

/// Waits for a word of another thread.
fn wait(word: &Receiver<()>) {
    word.recv_timeout(LIMIT).expect("it comes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_that_is_encoded_for_long_holds_up_no_other_call() {
    let (channel, mut peer) = memory::channel(1 << 10);
    let (begin, is_begun) = tokio::sync::oneshot::channel();
    let (answer, answered) = std_channel();
    let slow = running(&channel, move || {
        begin.send(()).expect("it is waited for");
        wait(&answered);
    });
    within(is_begun).await.expect("it begins");
    let other = call(&channel, "other");
    echoes(&mut peer, "other").await;
    assert_eq!(other.reply().await, "other");
    answer.send(()).expect("it waits");
    echoes(&mut peer, "encoded").await;
    assert_eq!(within(slow).await.expect("no panic"), "encoded");
}

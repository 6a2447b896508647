//! A model of two halves that are used at the same time.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;
use crate::{
    client::{ConnectOptions, text_contract::Text},
    framing::LengthPrefixed,
    models::{block_on, explore, scope},
};

type Echo = Text<LengthPrefixed>;

/// Returns the halves of a connection, and its far end.
fn halves(size: usize) -> (Sender<Echo>, Receiver<Echo>, DuplexStream) {
    let (near, far) = duplex(size);
    let options = ConnectOptions::new().reply_timeout(None).max_in_flight(1);
    let connection = options.over(near).expect("the options are valid");
    let (sender, receiver) = connection.split::<Echo>();
    (sender, receiver, far)
}

/// Sends back what it receives, until the end.
async fn echo(mut stream: DuplexStream) {
    let mut bytes = [0; 8];
    while let Ok(length @ 1..) = stream.read(&mut bytes).await {
        let bytes = bytes.get(..length).expect("it was read");
        stream.write_all(bytes).await.expect("it is open");
    }
}

#[test]
fn halves_wake_each_other() {
    explore(|| {
        // It has room for less than a request.
        let (mut sender, mut receiver, far) = halves(4);
        scope(|threads| {
            threads.spawn(|| block_on(echo(far)));
            threads.spawn(move || {
                for request in ["a", "b"] {
                    block_on(sender.send(request)).expect("it is sent");
                }
            });
            for reply in ["a", "b"] {
                let arrived = block_on(receiver.receive()).expect("a reply");
                assert_eq!(arrived.as_deref(), Some(reply));
            }
            let end = block_on(receiver.receive()).expect("no error");
            assert_eq!(end, None);
            drop(receiver);
        });
    });
}

#[test]
fn sender_that_waits_learns_that_the_receiver_is_gone() {
    explore(|| {
        let (mut sender, receiver, far) = halves(64);
        scope(|threads| {
            threads.spawn(move || drop(receiver));
            while block_on(sender.send("a")).is_ok() {}
        });
        drop(far);
    });
}

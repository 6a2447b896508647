//! Many callers, and a server that ends connections in all ways: each call ends, and its error tells what was executed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tcs::{Channel, Execution};
use tcs_tests::{Heard, RawPeer, channel::Owned, code, control, frame, lasting::lasting, within};
use tokio::task::JoinSet;

const CALLERS: usize = 32;
const CALLS: usize = 200;

/// How often each request was executed.
type Executed = Arc<Mutex<HashMap<String, usize>>>;

/// Serves a connection, which ends in one of several ways after some requests.
async fn serve(number: usize, mut peer: RawPeer, executed: Executed) {
    for _ in 0..7 + number % 61 {
        let Heard::Message(request) = peer.hear().await else {
            return;
        };
        let text = String::from_utf8(request).expect("text");
        *executed
            .lock()
            .expect("no panic")
            .entry(text.clone())
            .or_default() += 1;
        if peer.try_send(frame(text)).await.is_err() {
            return;
        }
    }
    match number % 4 {
        // What was sent and not read is lost.
        0 => {}
        1 => drop(peer.try_send(control(code::GOING_AWAY, "")).await),
        2 => {
            // Executed, but the reply is lost.
            if let Heard::Message(request) = peer.hear().await {
                let text = String::from_utf8(request).expect("text");
                *executed.lock().expect("no panic").entry(text).or_default() += 1;
            }
        }
        _ => {
            drop(peer.hear().await);
            drop(peer.try_send(control(code::BUSY, "")).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_call_ends_and_tells_what_was_executed() {
    let (options, mut attempts) = lasting();
    let channel: Channel = options
        .connections(2)
        .connect_lazily()
        .expect("good options");
    let executed = Executed::default();
    let server = tokio::spawn({
        let executed = Arc::clone(&executed);
        async move {
            let mut number = 0;
            while let Some(attempt) = attempts.try_attempt().await {
                number += 1;
                // Some attempts fail.
                if number % 10 == 9 {
                    attempt.refuse();
                } else {
                    tokio::spawn(serve(
                        number,
                        attempt.accept_with_room(300),
                        Arc::clone(&executed),
                    ));
                }
            }
            number
        }
    });
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let channel = channel.clone();
        callers.spawn(async move {
            let mut outcomes = Vec::new();
            for number in 0..CALLS {
                let request = format!("{caller}.{number}");
                let outcome = within(channel.call::<Owned>(&request)).await;
                outcomes.push((request, outcome));
            }
            outcomes
        });
    }
    drop(channel);
    let outcomes = within(callers.join_all()).await;
    let executed = executed.lock().expect("no panic").clone();
    let mut answered = 0;
    for (request, outcome) in outcomes.into_iter().flatten() {
        let times = executed.get(&request).copied().unwrap_or_default();
        match outcome {
            Ok(reply) => {
                assert_eq!((reply, times), (request, 1));
                answered += 1;
            }
            Err(error) => match error.execution() {
                Execution::Unknown => assert!(times <= 1, "{request}: {times}"),
                _ => assert_eq!(times, 0, "{request}: {error}"),
            },
        }
    }
    assert!(answered > CALLERS * CALLS / 2, "{answered}");
    within(server).await.expect("no panic");
}

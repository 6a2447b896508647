//! A client that a hostile server answers, in virtual time.

use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use tcs::{
    Channel, Connection,
    client::ConnectOptions,
    framing::{Framing, LengthPrefixed, Lines, Multiplexed},
};
use tcs_tests::{
    client::{Text, ask},
    cutting,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    time::sleep,
};

use crate::in_virtual_time;

/// The longest reply that the clients accept, in bytes.
const LIMIT: usize = 100;

#[derive(Arbitrary, Debug)]
enum Action<'a> {
    Send(&'a [u8]),
    Reply(&'a [u8]),
    Wait(u8),
    Read(u8),
}

#[derive(Arbitrary, Debug)]
struct Case<'a> {
    framing: u8,
    client: u8,
    calls: u8,
    pipe: u8,
    actions: Vec<Action<'a>>,
}

/// Answers any client with anything.
pub fn check(data: &[u8]) {
    let Ok(case) = Case::arbitrary(&mut Unstructured::new(data)) else {
        return;
    };
    match case.framing % 3 {
        0 => in_order::<LengthPrefixed>(&case),
        1 => in_order::<Lines>(&case),
        // Its replies come in any order, so it has no pipelines.
        _ => with_client::<Multiplexed>(&case, calls),
    }
}

fn in_order<F: Framing + Sync>(case: &Case<'_>) {
    if case.client % 3 == 0 {
        with_client::<F>(case, pipeline);
    } else {
        with_client::<F>(case, calls);
    }
}

fn with_client<F: Framing + Sync>(
    case: &Case<'_>,
    client: impl AsyncFnOnce(&Case<'_>, Connection<F>),
) {
    in_virtual_time(async {
        let (near, far) = tokio::io::duplex(1 + usize::from(case.pipe));
        let options = ConnectOptions::new()
            .reply_timeout(Duration::from_secs(60))
            .max_frame_len(LIMIT);
        let connection: Connection<F> = options.over(near).expect("good options");
        let server = serve::<F>(case, far);
        let client = async {
            if case.client % 3 == 1 {
                channel(case, connection.into_channel().expect("a runtime")).await;
            } else {
                client(case, connection).await;
            }
        };
        tokio::join!(client, server);
    });
}

/// Does what the case says, then reads what comes and closes.
async fn serve<F: Framing>(case: &Case<'_>, mut far: DuplexStream) {
    for action in &case.actions {
        let bytes = match action {
            Action::Send(bytes) => bytes.to_vec(),
            Action::Reply(message) => match cutting::write_one::<F>(message) {
                Ok(bytes) => bytes,
                Err(_) => continue,
            },
            Action::Wait(seconds) => {
                sleep(Duration::from_secs((*seconds).into())).await;
                continue;
            }
            Action::Read(count) => {
                let mut bytes = vec![0; usize::from(*count)];
                let read = far.read_exact(&mut bytes);
                let _ = tokio::time::timeout(Duration::from_secs(1), read).await;
                continue;
            }
        };
        if !matches!(
            tokio::time::timeout(Duration::from_secs(1), far.write_all(&bytes)).await,
            Ok(Ok(()))
        ) {
            return;
        }
    }
}

async fn calls<F: Framing>(case: &Case<'_>, mut connection: Connection<F>) {
    for number in 0..case.calls % 8 {
        if number % 2 == 0 {
            if let Ok(reply) = connection.exchange(ask::<F>("Ann")).await {
                assert!(reply.len() <= LIMIT);
            }
        } else if let Ok(reply) = connection.call::<Text<F>>("Bob").await {
            assert!(reply.len() <= LIMIT);
        }
    }
    connection.close().await;
}

async fn pipeline<F: Framing>(case: &Case<'_>, mut connection: Connection<F>) {
    let mut pipeline = connection.pipeline::<Text<F>>();
    let sent = usize::from(case.calls % 8);
    for _ in 0..sent {
        if pipeline.send("Ann").await.is_err() {
            break;
        }
    }
    let mut received = 0;
    // An error that ends the connection is told once for each request.
    while received <= sent {
        match pipeline.receive().await {
            Ok(Some(reply)) => assert!(reply.len() <= LIMIT),
            Ok(None) => break,
            Err(_) => {}
        }
        received += 1;
    }
    assert!(received <= sent, "{received} replies to {sent} requests");
}

async fn channel<F: Framing + Sync>(case: &Case<'_>, channel: Channel<F>) {
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..case.calls % 8 {
        let channel = channel.clone();
        calls.spawn(async move { channel.exchange(ask::<F>("Ann")).await });
    }
    drop(channel);
    while let Some(reply) = calls.join_next().await {
        if let Ok(reply) = reply.expect("no panic") {
            assert!(reply.len() <= LIMIT);
        }
    }
}

//! A server that a hostile peer talks to, in virtual time.

use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use tcs::{
    ConcurrentServer,
    framing::{CrlfText, Framing, LengthPrefixed, Lines, Netstrings, Side},
    server::Report,
};
use tcs_tests::{
    Kind, RawPeer, ReadyFn, SyncFn, WaitingFn, cutting, gate, serve_in_memory, tester_of,
};
use tokio::{task::JoinHandle, time::sleep};

use crate::in_virtual_time;

#[derive(Arbitrary, Debug)]
enum Action<'a> {
    Send(&'a [u8]),
    Request(Request, u8),
    Wait(u8),
    Read(u8),
}

/// What the protocol of the tests can be asked.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Request {
    Echo,
    Error,
    Busy,
    Size,
    Last,
    Nothing,
    Close,
    Count,
    Wait,
}

#[derive(Arbitrary, Debug)]
enum End {
    HalfClose,
    Close,
    Reset,
}

#[derive(Arbitrary, Debug)]
struct Case<'a> {
    server: u8,
    pipe: u8,
    actions: Vec<Action<'a>>,
    end: End,
}

/// Does anything to a server.
pub fn check(data: &[u8]) {
    let Ok(case) = Case::arbitrary(&mut Unstructured::new(data)) else {
        return;
    };
    match case.server % 5 {
        0 => with::<LengthPrefixed, SyncFn>(&case),
        1 => with::<LengthPrefixed, WaitingFn>(&case),
        2 => with::<Netstrings, ReadyFn>(&case),
        3 => with::<Lines, SyncFn>(&case),
        _ => with::<CrlfText, WaitingFn>(&case),
    }
}

fn with<F: Framing, K: Kind>(case: &Case<'_>) {
    in_virtual_time(async {
        let gate = gate();
        let server = ConcurrentServer::new(tester_of::<K, F>(&gate).counting())
            .max_frame_len(100)
            .max_reply_len(200)
            .max_pipelined_requests(50);
        let (peer, served) = serve_in_memory(server, 1 + usize::from(case.pipe));
        drive::<F>(case, K::WAITS, peer, served).await;
    });
}

async fn drive<F: Framing>(
    case: &Case<'_>,
    waits: bool,
    mut peer: RawPeer,
    served: JoinHandle<Report>,
) {
    let mut heard = Vec::new();
    let mut requests = 0;
    for action in &case.actions {
        let bytes = match action {
            Action::Send(bytes) => bytes.to_vec(),
            Action::Request(request, size) => {
                requests += 1;
                let text = text(*request, *size, waits);
                cutting::write::<F>(&[text.into_bytes()])
            }
            Action::Wait(seconds) => {
                sleep(Duration::from_secs((*seconds).into())).await;
                continue;
            }
            Action::Read(count) => {
                let read = peer.receive_up_to((*count).into());
                let read = tokio::time::timeout(Duration::from_secs(1), read).await;
                heard.extend(read.unwrap_or_default());
                continue;
            }
        };
        let sent = tokio::time::timeout(Duration::from_secs(1), peer.try_send(bytes)).await;
        if !matches!(sent, Ok(Ok(()))) {
            break;
        }
    }
    match case.end {
        End::HalfClose => {
            let _ = peer.try_finish().await;
            heard.extend(peer.try_rest().await.unwrap_or_default());
        }
        End::Close => drop(peer),
        End::Reset => peer.reset(),
    }
    let report = served.await.expect("the server does not panic");
    assert!(
        report.requests.received <= requests + sent_by_hand(case),
        "{report}"
    );
    // What the server has sent is complete frames, but for the last one.
    let _ = cutting::read_until::<F>(
        Side::Client,
        &[&heard],
        tcs::framing::ReadState::Idle,
        1 << 20,
    );
}

fn text(request: Request, size: u8, waits: bool) -> String {
    match request {
        Request::Error => "error no".to_owned(),
        Request::Busy => "busy later".to_owned(),
        Request::Size => format!("size {size}"),
        Request::Last => "last bye".to_owned(),
        Request::Nothing => "nothing".to_owned(),
        Request::Close => "close".to_owned(),
        Request::Count => "count".to_owned(),
        Request::Wait if waits => "wait long".to_owned(),
        Request::Echo | Request::Wait => "x".repeat(size.into()),
    }
}

/// The bytes that are not known to be requests: each could be one.
fn sent_by_hand(case: &Case<'_>) -> u64 {
    let bytes = case.actions.iter().map(|action| match action {
        Action::Send(bytes) => bytes.len() as u64,
        _ => 0,
    });
    bytes.sum()
}

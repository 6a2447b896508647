//! Requests with ids, cancels, credit and chunks, of a peer that follows the framing, but not its rules.

use std::{collections::HashMap, time::Duration};

use arbitrary::{Arbitrary, Unstructured};
use tcs::{ConcurrentServer, framing::Multiplexed, protocol::Replies, server_protocol};
use tcs_tests::{
    RawPeer,
    ids::{control_of, kind, message_of},
    serve_in_memory,
};
use tokio::time::{sleep, timeout};

use crate::in_virtual_time;

/// So many actions are done. More would exceed the day of the clock.
const MAX_ACTIONS: usize = 100;

#[derive(Arbitrary, Debug)]
enum Action {
    Request(u8, Request, u8),
    Cancel(u8),
    Credit(u8, u32),
    Deadline(u8, u32),
    Control(u8, u8, Vec<u8>),
    Wait(u8),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Request {
    Echo,
    Wait,
    Items,
    Fail,
}

/// Does as the request says, with a number.
#[server_protocol(framing = Multiplexed, replies = u32)]
async fn desk(request: &str, mut out: Replies<'_, Desk>) -> Result<String, String> {
    let (what, number) = request.split_once(' ').unwrap_or((request, "0"));
    let number = number.parse().unwrap_or(0);
    match what {
        "wait" => sleep(Duration::from_secs(number)).await,
        "items" => {
            for item in 0..number {
                out.send(u32::try_from(item).unwrap_or(0))
                    .await
                    .map_err(|error| error.to_string())?;
            }
        }
        "fail" => return Err("no".to_owned()),
        _ => {}
    }
    Ok(what.to_owned())
}

/// What requests a peer has sent.
#[derive(Default)]
struct Sent {
    /// How many with each id.
    requests: HashMap<u32, usize>,
    /// Whether the server has not taken something.
    is_cut: bool,
}

/// Sends any of them, and counts the answers to each id.
pub fn check(data: &[u8]) {
    let Ok((mut actions, closes)) = <(Vec<Action>, bool)>::arbitrary(&mut Unstructured::new(data))
    else {
        return;
    };
    actions.truncate(MAX_ACTIONS);
    in_virtual_time(async {
        let (mut peer, served) =
            serve_in_memory(ConcurrentServer::new(Desk).max_frame_len(100), 1 << 16);
        let sent = send(&mut peer, &actions).await;
        let mut heard = Vec::new();
        if !closes {
            drop(peer.try_finish().await);
            heard = peer.try_rest().await.unwrap_or_default();
        }
        drop(peer);
        let report = served.await.expect("no panic");
        let answers = answers(&heard);
        let requests = &sent.requests;
        for (id, answers) in &answers {
            let requests = requests.get(id).copied().unwrap_or_default();
            assert!(
                *id == 0 || *answers <= requests,
                "{answers} answers to {requests} requests of {id}"
            );
        }
        let total: usize = requests.values().sum();
        let received = usize::try_from(report.requests.received).expect("64 bits");
        // A control frame that breaks the rules is answered, and counted, as a request.
        let is_control = |action: &&Action| matches!(action, Action::Control(..));
        let controls = actions.iter().filter(is_control).count();
        let most = total + controls + usize::from(sent.is_cut);
        assert!(received <= most, "{report}");
        if !closes && !sent.is_cut && must_be_answered(&actions) {
            assert_eq!(&answers, requests, "{report}");
            assert_eq!(received, total, "{report}");
        }
    });
}

/// Returns `true` if nothing ends the connection before each request is answered: also a cancel and a deadline are.
fn must_be_answered(actions: &[Action]) -> bool {
    let mut seconds = 0;
    for action in actions {
        match action {
            Action::Request(0, ..) | Action::Control(..) | Action::Wait(_) => return false,
            Action::Request(_, Request::Wait, wait) => seconds += u32::from(*wait),
            _ => {}
        }
    }
    // Within the time that a server works for a peer that has closed its half.
    seconds < 30
}

/// Sends what the actions say, until the server does not take it.
async fn send(peer: &mut RawPeer, actions: &[Action]) -> Sent {
    let mut sent = Sent::default();
    for action in actions {
        let bytes = match action {
            Action::Request(id, request, number) => {
                let what = match request {
                    Request::Echo => "echo",
                    Request::Wait => "wait",
                    Request::Items => "items",
                    Request::Fail => "fail",
                };
                message_of((*id).into(), format!("{what} {number}"))
            }
            Action::Cancel(id) => control_of((*id).into(), kind::CANCEL, ""),
            Action::Credit(id, credit) => {
                control_of((*id).into(), kind::CREDIT, credit.to_be_bytes())
            }
            Action::Deadline(id, limit) => {
                control_of((*id).into(), kind::DEADLINE, limit.to_be_bytes())
            }
            Action::Control(id, kind, text) => control_of((*id).into(), *kind, text),
            Action::Wait(seconds) => {
                sleep(Duration::from_secs((*seconds).into())).await;
                continue;
            }
        };
        let sending = timeout(Duration::from_secs(1), peer.try_send(bytes)).await;
        sent.is_cut = !matches!(sending, Ok(Ok(())));
        if let Action::Request(id, ..) = action {
            *sent.requests.entry((*id).into()).or_default() += usize::from(!sent.is_cut);
        }
        if sent.is_cut {
            break;
        }
    }
    sent
}

/// Counts the answers to each id: messages that are no items and no parts, and rejections.
fn answers(mut bytes: &[u8]) -> HashMap<u32, usize> {
    let mut counts = HashMap::new();
    let mut announced = HashMap::<u32, u32>::new();
    while let Some((header, rest)) = bytes.split_first_chunk::<8>() {
        let [length, id] = [&header[..4], &header[4..]]
            .map(|field| u32::from_be_bytes(field.try_into().expect("four bytes")));
        let Some((payload, behind)) = rest.split_at_checked((length & !(1 << 31)) as usize) else {
            break;
        };
        bytes = behind;
        let is_message = length >> 31 == 0;
        let expected = announced.entry(id).or_default();
        match payload.first() {
            _ if is_message && *expected > 0 => *expected -= 1,
            Some(kind) if !is_message && *kind >= 0x40 => {
                let count = payload.get(1..5).and_then(|count| count.try_into().ok());
                *expected = count.map_or(0, u32::from_be_bytes);
            }
            _ => *counts.entry(id).or_default() += 1,
        }
    }
    counts
}

//! Requests with ids, cancels, credit and chunks, of a peer that follows the framing, but not its rules.

use std::{collections::HashMap, time::Duration};

use arbitrary::{Arbitrary, Unstructured};
use tcs::{ConcurrentServer, framing::Multiplexed, protocol::Replies, server_protocol};
use tcs_tests::{
    ids::{control_of, kind, message_of},
    serve_in_memory,
};
use tokio::time::{sleep, timeout};

use crate::in_virtual_time;

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

/// Sends any of them, and counts the answers to each id.
pub fn check(data: &[u8]) {
    let Ok((actions, closes)) = <(Vec<Action>, bool)>::arbitrary(&mut Unstructured::new(data))
    else {
        return;
    };
    in_virtual_time(async {
        let (mut peer, served) =
            serve_in_memory(ConcurrentServer::new(Desk).max_frame_len(100), 1 << 16);
        let mut asked = HashMap::<u32, usize>::new();
        for action in actions.iter().take(100) {
            let bytes = match action {
                Action::Request(id, request, number) => {
                    *asked.entry((*id).into()).or_default() += 1;
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
            if !matches!(
                timeout(Duration::from_secs(1), peer.try_send(bytes)).await,
                Ok(Ok(()))
            ) {
                break;
            }
        }
        if closes {
            drop(peer);
            served.await.expect("no panic");
            return;
        }
        let _ = peer.try_finish().await;
        let heard = peer.try_rest().await.unwrap_or_default();
        served.await.expect("no panic");
        for (id, answers) in answers(&heard) {
            let requests = asked.get(&id).copied().unwrap_or_default();
            assert!(
                id == 0 || answers <= requests,
                "{answers} answers to {requests} requests of {id}"
            );
        }
    });
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

//! A broker of MQTT 3.1.1: what one client publishes is pushed to all that have subscribed to its topic.
//!
//! ```text
//! cargo run --example mqtt
//! ```
//!
//! It leaves out wildcards, retained messages, wills, logins, sessions that outlive their connection, and quality of
//! service 2. Subscribers get messages with quality 0.
//!
//! Try: `mosquitto_sub -p 1234 -t news` and `mosquitto_pub -p 1234 -t news -m hello`.

use std::time::Duration;

use tcs::protocol::{Push, PushGroups};
use tcs::{ConcurrentServer, ConnectionInfo, Response, framing::Varint, server_protocol};

type Topics = PushGroups<Vec<u8>, Mqtt>;

/// What is no packet, or comes at a wrong time, closes the connection, as the protocol demands.
#[server_protocol(framing = Varint<1>, push = &[u8])]
fn mqtt(
    packet: &[u8],
    #[session] is_connected: &mut bool,
    #[state] topics: &Topics,
    push: Push<Mqtt>,
    info: &ConnectionInfo,
) -> Response<Vec<u8>> {
    let reply = match Varint::<1>::split(packet) {
        Some(([0x10], body)) if !*is_connected => connect(body, is_connected, info),
        Some(([0xc0], [])) if *is_connected => Some(Response::Reply(vec![0xd0, 0])),
        Some(([kind], body)) if *is_connected => packet_of(*kind, body, topics, &push),
        _ => None,
    };
    reply.unwrap_or(Response::Close)
}

fn connect(
    mut body: &[u8],
    is_connected: &mut bool,
    info: &ConnectionInfo,
) -> Option<Response<Vec<u8>>> {
    let name = string(&mut body)?;
    let &[level, _flags, high, low, ..] = body else {
        return None;
    };
    if (name, level) != (b"MQTT", 4) {
        return Some(Response::ReplyAndClose(vec![0x20, 0, 0, 1])); // another version
    }
    *is_connected = true;
    let keep_alive = u16::from_be_bytes([high, low]);
    if keep_alive > 0 {
        info.set_idle_timeout(Duration::from_secs(keep_alive.into()) * 3 / 2);
    }
    Some(Response::Reply(vec![0x20, 0, 0, 0]))
}

fn packet_of(
    kind: u8,
    mut body: &[u8],
    topics: &Topics,
    push: &Push<Mqtt>,
) -> Option<Response<Vec<u8>>> {
    match kind {
        // PUBLISH with quality 0, or 1, which is acknowledged by PUBACK.
        0x30..0x34 | 0x3a | 0x3b => {
            let (length, topic) = (body.get(..2)?, string(&mut body)?);
            let has_id = kind & 2 != 0;
            let id = body.split_off(..if has_id { 2 } else { 0 })?;
            // The framing puts the length in the place of the 0.
            let message = [&[0x30, 0], length, topic, body].concat();
            topics.send(topic, &message).ok()?;
            let acknowledged = Response::Reply([&[0x40, 0], id].concat());
            Some(if has_id {
                acknowledged
            } else {
                Response::NoReply
            })
        }
        // SUBSCRIBE and UNSUBSCRIBE, answered by SUBACK and UNSUBACK.
        0x82 | 0xa2 => {
            let id = body.split_off(..2).filter(|_| !body.is_empty())?;
            let mut reply = [&[kind + 0x0e, 0], id].concat();
            while !body.is_empty() {
                let topic = string(&mut body)?;
                if kind == 0xa2 {
                    topics.leave(topic, push);
                } else if body.split_off_first()? > &2 || topic.iter().any(|it| b"#+".contains(it))
                {
                    reply.push(0x80);
                } else {
                    topics.join(topic.to_vec(), push);
                    reply.push(0);
                }
            }
            Some(Response::Reply(reply))
        }
        _ => None,
    }
}

/// Takes a string, or a topic, off the start of `body`: its length in two bytes precedes it.
fn string<'a>(body: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = body.split_off(..2)?;
    body.split_off(..usize::from(u16::from_be_bytes([length[0], length[1]])))
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(Mqtt::new(Topics::new())).run()
}

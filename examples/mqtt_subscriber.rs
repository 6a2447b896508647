//! A subscriber of MQTT 3.1.1 that stays subscribed when its broker restarts.
//!
//! ```text
//! cargo run --example mqtt_subscriber news weather
//! ```
//!
//! It prints what is published to these topics at 127.0.0.1:1234, such as by `examples/mqtt.rs`, until you press Ctrl-C. It
//! leaves out: quality of service 1 and 2, logins, wills, sessions that outlive their connection, and pings: a broker that
//! vanishes is noticed by TCP. What is published while it is not connected is lost.
//!
//! Try: restart the broker, and run `mosquitto_pub -p 1234 -t news -m hello`.

use std::env;

use tcs::{
    Connection, Error, Result,
    client::{ChannelEvent, ChannelOptions},
    format::Plain,
    framing::Varint,
    protocol::{Contract, Pushes},
};

/// Packets. The broker answers each of ours with one, and sends PUBLISH whenever it likes.
enum Mqtt {}

impl Contract for Mqtt {
    type Framing = Varint<1>;
    type Format = Plain;
    type Request<'a> = &'a [u8];
    type Reply<'a> = &'a [u8];
    const IS_EVENT: Option<fn(&[u8]) -> bool> = Some(Self::is_push);
}

impl Pushes for Mqtt {
    type Format = Plain;
    type Event<'a> = &'a [u8];

    fn is_push(packet: &[u8]) -> bool {
        packet.first().is_some_and(|kind| kind >> 4 == 3)
    }
}

/// Logs in and subscribes, over each new connection.
async fn subscribe(
    mut broker: Connection<Varint<1>>,
    topics: Vec<String>,
) -> Result<Connection<Varint<1>>> {
    // CONNECT: a new session, no time limit, and no name. The framing puts the length in the place of the 0.
    let connect = b"\x10\0\0\x04MQTT\x04\x02\0\0\0\0";
    if broker.call::<Mqtt>(connect).await? != [0x20, 2, 0, 0] {
        return Err(Error::other("the broker refuses the connection"));
    }
    let mut subscribe = vec![0x82, 0, 0, 1];
    for topic in topics {
        let length = u16::try_from(topic.len()).map_err(Error::other)?;
        subscribe.extend(length.to_be_bytes());
        subscribe.extend(topic.bytes().chain([0]));
    }
    let suback = Varint::<1>::split(broker.call::<Mqtt>(&subscribe).await?);
    // After the number of the packet, a code for each topic.
    if suback.is_none_or(|(_, body)| body.iter().skip(2).any(|code| *code == 0x80)) {
        return Err(Error::other("the broker refuses a topic"));
    }
    Ok(broker)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let topics: Vec<_> = env::args().skip(1).collect();
    let channel = ChannelOptions::new("127.0.0.1:1234")
        .on_connect(move |broker| subscribe(broker, topics.clone()))
        .connect()
        .await?;
    let mut events = channel.events::<Mqtt>();
    println!("subscribed");
    loop {
        match events.next().await? {
            ChannelEvent::Event(packet) => println!("{}", published(packet).unwrap_or_default()),
            other => println!("{other:?}"),
        }
    }
}

/// Returns the topic and the text of a PUBLISH.
fn published(packet: &[u8]) -> Option<String> {
    let (_, body) = Varint::<1>::split(packet)?;
    let (length, body) = body.split_first_chunk()?;
    let (topic, text) = body.split_at_checked(u16::from_be_bytes(*length).into())?;
    let [topic, text] = [topic, text].map(String::from_utf8_lossy);
    Some(format!("{topic}: {text}"))
}

//! Models of what the callers of a channel share with its driver, and with those who receive events.

use std::{
    future::poll_fn,
    pin::pin,
    task::{Context, Waker},
};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::{
    hub::{Entry, Subscriber},
    *,
};
use crate::{
    client::ConnectOptions,
    framing::Lines,
    models::{block_on, explore, scope},
};

fn open<F: Framing>(max_in_flight: usize) -> (Channel<F>, Driver<F>, DuplexStream) {
    let (near, far) = duplex(64);
    let options = ConnectOptions::new()
        .reply_timeout(None)
        .max_in_flight(max_in_flight);
    let (stats, room) = (Arc::new(ChannelStats::new(None)), Room::default());
    let subchannel = Subchannel::new(options.clone(), 0, Arc::clone(&stats), room, None);
    let subchannel = Arc::new(subchannel);
    let connection = options.over(near).expect("the options are valid");
    let driver = Driver::attach(&subchannel, connection);
    (
        Channel::over(Pool::new([subchannel], stats, options)),
        driver,
        far,
    )
}

/// Answers this many requests of one byte each, and closes.
async fn answer(mut stream: DuplexStream, count: usize) {
    for _ in 0..count {
        let mut request = [0; 5];
        if stream.read_exact(&mut request).await.is_err() {
            return;
        }
        drop(stream.write_all(&request).await);
    }
}

async fn call(channel: Channel, byte: u8) -> Result<()> {
    let (reply, _) = channel.reply_to_bytes(false, &[byte]).await?;
    assert_eq!(reply.0, [byte]);
    Ok(())
}

#[test]
fn each_call_gets_its_reply_and_the_driver_ends_with_the_channel() {
    for max_in_flight in [1, 2] {
        explore(move || {
            let (channel, driver, far) = open(max_in_flight);
            scope(|threads| {
                threads.spawn(|| block_on(driver.run()));
                threads.spawn(|| block_on(answer(far, usize::MAX)));
                let other = channel.clone();
                threads.spawn(|| block_on(call(other, b'a')).expect("a reply"));
                block_on(call(channel, b'b')).expect("a reply");
            });
        });
    }
}

#[test]
fn call_that_is_dropped_leaves_its_room_to_others() {
    explore(|| {
        let (channel, driver, far) = open(1);
        scope(|threads| {
            threads.spawn(|| block_on(driver.run()));
            threads.spawn(|| block_on(answer(far, usize::MAX)));
            let (second, third) = (channel.clone(), channel.clone());
            threads.spawn(|| {
                let mut cx = Context::from_waker(Waker::noop());
                let polled = pin!(call(second, b'a')).poll(&mut cx);
                drop(polled);
            });
            threads.spawn(|| block_on(call(third, b'b')).expect("a reply"));
            block_on(call(channel, b'c')).expect("a reply");
        });
    });
}

#[test]
fn every_call_ends_when_the_connection_is_lost() {
    for max_in_flight in [1, 2] {
        explore(move || {
            let (channel, driver, far) = open(max_in_flight);
            scope(|threads| {
                threads.spawn(|| block_on(driver.run()));
                threads.spawn(|| block_on(answer(far, 1)));
                let other = channel.clone();
                threads.spawn(|| drop(block_on(call(other, b'a'))));
                drop(block_on(call(channel, b'b')));
            });
        });
    }
}

#[test]
fn subscriber_gets_an_event_or_nothing_and_then_the_end() {
    explore(|| {
        let (channel, driver, _far) = open::<LengthPrefixed>(1);
        let subscriber = Arc::new(Subscriber::new(1_000));
        let [subchannel] = &*channel.pool.connections else {
            unreachable!("there is one");
        };
        scope(|threads| {
            threads.spawn(|| {
                let mut wakers = Vec::new();
                subchannel.hub.publish(b"event", &mut wakers);
                wakers.into_iter().for_each(Waker::wake);
                drop(driver);
            });
            subchannel.add_subscriber(&subscriber);
            let next = || block_on(poll_fn(|cx| subscriber.poll_next(cx)));
            let first = next();
            if first.is_ok() {
                assert!(matches!(first, Ok(Entry::Event(_))));
                assert!(next().is_err());
            }
        });
    });
}

#[test]
fn framing_knows_the_events_once_they_were_noted() {
    explore(|| {
        let (channel, _driver, _far) = open::<Lines>(1);
        let note = || {
            channel.pool.note_events(|_| true);
            let subchannels = channel.pool.connections.iter();
            for subchannel in subchannels {
                assert!(subchannel.lock().framing.is_event().is_some());
            }
        };
        scope(|threads| {
            threads.spawn(note);
            threads.spawn(note);
        });
    });
}

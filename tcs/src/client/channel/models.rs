//! Models of what the callers of a channel share with its driver, and with those who receive events.

use std::{
    array,
    future::poll_fn,
    pin::pin,
    task::{Context, Waker},
};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::{subscribers::Subscriber, *};
use crate::{
    client::{ConnectOptions, event_queue::Entry},
    framing::Lines,
    models::{block_on, explore, explore_all, scope},
};

fn open<F: Framing>(max_in_flight: usize) -> (Channel<F>, Driver<F>, DuplexStream) {
    let (channel, [(driver, far)]) = open_pool(max_in_flight);
    (channel, driver, far)
}

/// Opens a channel with a number of connections. Returns the driver of each, and the far end.
fn open_pool<F: Framing, const N: usize>(
    max_in_flight: usize,
) -> (Channel<F>, [(Driver<F>, DuplexStream); N]) {
    // Which connection a call takes must not differ between two runs of the same order.
    fastrand::seed(1);
    let options = ConnectOptions::new()
        .reply_timeout(None)
        .max_in_flight(max_in_flight);
    let channel = Channel::of_connections(N, options.clone(), false);
    let mut subchannels = channel.pool.subchannels.iter();
    let connections = array::from_fn(|_| {
        let (near, far) = duplex(64);
        let connection = options.over(near).expect("the options are valid");
        let subchannel = subchannels.next().expect("there are `N`");
        (Driver::attach(subchannel, connection), far)
    });
    (channel, connections)
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
    let reply = channel.reply_to_bytes(false, &[byte]).await?;
    assert_eq!(reply.bytes, [byte]);
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
fn calls_go_on_over_the_other_connection_when_one_of_two_is_lost() {
    explore(|| {
        let (channel, [lost, lasting]) = open_pool(1);
        scope(|threads| {
            let lost_driver = threads.spawn(|| block_on(lost.0.run()));
            threads.spawn(|| drop(lost.1));
            threads.spawn(|| block_on(lasting.0.run()));
            threads.spawn(|| block_on(answer(lasting.1, usize::MAX)));
            // These calls may be lost with the connection.
            let other = channel.clone();
            let other = threads.spawn(|| drop(block_on(call(other, b'a'))));
            drop(block_on(call(channel.clone(), b'b')));
            other.join().expect("it ends");
            lost_driver.join().expect("it ends");
            block_on(call(channel, b'c')).expect("a reply");
        });
    });
}

#[test]
fn subscriber_gets_an_event_or_nothing_and_then_the_end() {
    explore(|| {
        let (channel, driver, _far) = open::<LengthPrefixed>(1);
        let subscriber = Subscriber::new(1_000);
        let [subchannel] = &*channel.pool.subchannels else {
            unreachable!("there is one");
        };
        scope(|threads| {
            threads.spawn(|| {
                let mut wakers = Vec::new();
                let state = subchannel.lock();
                (state.subscribers).publish(b"event", &Peer::unnamed(), &mut wakers);
                drop(state);
                wakers.into_iter().for_each(Waker::wake);
                drop(driver);
            });
            subchannel.add_subscriber(&subscriber);
            let next = || block_on(poll_fn(|cx| Subscriber::poll_next(&subscriber, cx)));
            let first = next();
            if first.is_ok() {
                assert!(matches!(first, Ok(Entry::Event(..))));
                assert!(next().is_err());
            }
        });
    });
}

#[test]
fn framing_knows_the_events_once_they_were_set() {
    explore_all(|| {
        let (channel, _driver, _far) = open::<Lines>(1);
        let set = || {
            channel.pool.set_is_event(|_| true);
            let subchannels = channel.pool.subchannels.iter();
            for subchannel in subchannels {
                assert!(subchannel.lock().framing.is_event().is_some());
            }
        };
        scope(|threads| {
            threads.spawn(set);
            threads.spawn(set);
        });
    });
}

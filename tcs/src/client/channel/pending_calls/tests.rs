//! Tests of the list of calls.

use std::{collections::VecDeque, time::Duration};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{client::deadline::PassedLimit, framing::Multiplexed};

const LIMIT: u32 = 8;

fn open(calls: &mut PendingCalls, offset: u64) -> u32 {
    calls.insert::<Multiplexed>(offset, Some(Waker::noop().clone()))
}

fn error() -> Error {
    Error::closed_before_reply(&Peer::unnamed())
}

fn reply(calls: &mut PendingCalls, reply: &[u8], wakers: &mut Vec<Waker>) {
    if let Some(oldest) = calls.oldest() {
        calls.complete::<Multiplexed>(oldest.index, Ok(reply), &Peer::unnamed(), wakers);
    }
}

fn tick(calls: &mut PendingCalls, wakers: &mut Vec<Waker>) -> bool {
    calls.tick(wakers, |_| error())
}

fn taken(calls: &mut PendingCalls, index: u32) -> Option<Vec<u8>> {
    calls.take_result(index)?.ok()
}

#[test]
fn slot_is_a_line_of_a_cache() {
    assert_eq!(size_of::<Slot>(), 64);
}

#[test]
fn replies_are_found_in_any_order_and_slots_used_again() {
    let mut calls = PendingCalls::new(LIMIT, true);
    let mut wakers = Vec::new();
    let (first, second) = (open(&mut calls, 0), open(&mut calls, 1));
    assert!(taken(&mut calls, second).is_none());
    reply(&mut calls, b"1", &mut wakers);
    reply(&mut calls, b"2", &mut wakers);
    assert_eq!((wakers.len(), calls.len()), (2, 2));
    assert_eq!(taken(&mut calls, second), Some(b"2".to_vec()));
    let third = open(&mut calls, 2);
    assert_eq!(third, second);
    assert_eq!(taken(&mut calls, first), Some(b"1".to_vec()));
    assert!(taken(&mut calls, third).is_none());
    reply(&mut calls, b"3", &mut wakers);
    assert_eq!(taken(&mut calls, third), Some(b"3".to_vec()));
    assert_eq!(calls.len(), 0);
    assert!(tick(&mut calls, &mut wakers));
    assert_eq!(calls.slots.capacity(), 0);
    let again = open(&mut calls, 3);
    reply(&mut calls, b"4", &mut wakers);
    assert_eq!(taken(&mut calls, again), Some(b"4".to_vec()));
}

#[test]
fn burst_leaves_no_memory_when_there_are_no_ticks() {
    let mut calls = PendingCalls::new(0, true);
    let indices = [(); 65].map(|()| open(&mut calls, 0));
    for _ in indices {
        reply(&mut calls, b"1", &mut Vec::new());
    }
    for index in indices {
        assert_eq!(taken(&mut calls, index), Some(b"1".to_vec()));
    }
    assert_eq!(calls.slots.capacity(), 0);
    let index = open(&mut calls, 0);
    calls.abandon(index);
    reply(&mut calls, b"2", &mut Vec::new());
    assert_eq!((calls.len(), calls.slots.len()), (0, 1));
}

/// What the model knows of a call.
#[derive(Clone, Debug)]
struct Known {
    index: u32,
    offset: u64,
    made: u32,
    is_late: bool,
    is_abandoned: bool,
}

proptest! {
    /// The model has the calls in flight in a queue, and the replies to be collected in a list.
    #[test]
    fn slots_do_what_a_queue_does(steps in vec((0..8_u8, any::<u8>()), 0..200)) {
        let mut calls = PendingCalls::new(1, true);
        let mut wakers = Vec::new();
        let mut now = 0;
        let mut in_flight: VecDeque<Known> = VecDeque::new();
        // Without the byte of its reply, a call is late.
        let mut settled: Vec<(u32, Option<u8>)> = Vec::new();
        for (offset, (step, byte)) in (0..).zip(steps) {
            let pick = |length: usize| (length > 0).then(|| usize::from(byte) % length);
            match step {
                0 | 1 => in_flight.push_back(Known {
                    index: open(&mut calls, offset),
                    offset,
                    made: now,
                    is_late: false,
                    is_abandoned: false,
                }),
                2 => {
                    reply(&mut calls, &[byte], &mut wakers);
                    if let Some(known) = in_flight.pop_front()
                        && !known.is_abandoned
                    {
                        settled.push((known.index, (!known.is_late).then_some(byte)));
                    }
                }
                // With ids, in any order.
                7 => {
                    if let Some(at) = pick(in_flight.len())
                        && let Some(known) = in_flight.remove(at)
                    {
                        let found = calls.with_id(known.index + 1);
                        prop_assert_eq!(found.map(|found| found.index), Some(known.index));
                        calls.complete::<Multiplexed>(known.index, Ok(&[byte]), &Peer::unnamed(), &mut wakers);
                        if !known.is_abandoned {
                            settled.push((known.index, (!known.is_late).then_some(byte)));
                        }
                        prop_assert_eq!(calls.with_id(known.index + 1), None);
                    }
                }
                3 => {
                    if let Some(at) = pick(settled.len()) {
                        let (index, byte) = settled.swap_remove(at);
                        prop_assert_eq!(taken(&mut calls, index), byte.map(|byte| vec![byte]));
                    }
                }
                4 => {
                    if let Some(at) = pick(settled.len()) {
                        calls.abandon(settled.swap_remove(at).0);
                    }
                }
                5 => {
                    if let Some(at) = pick(in_flight.len())
                        && !in_flight[at].is_abandoned
                    {
                        in_flight[at].is_abandoned = true;
                        calls.abandon(in_flight[at].index);
                    }
                }
                _ => {
                    now += 1;
                    calls.record_arrival();
                    prop_assert!(tick(&mut calls, &mut wakers));
                    for known in &mut in_flight {
                        known.is_late = now - known.made > 1;
                    }
                }
            }
            prop_assert_eq!(calls.len(), in_flight.len() + settled.len());
            let oldest = in_flight.front().map(|known| known.offset);
            prop_assert_eq!(calls.oldest().map(|oldest| oldest.offset), oldest);
            for known in &mut in_flight {
                if !known.is_abandoned && (!known.is_late || byte % 2 == 0) {
                    let result = calls.take_result(known.index);
                    prop_assert_eq!(result.map(|result| result.is_err()), known.is_late.then_some(true));
                    // Its caller is gone now.
                    known.is_abandoned = known.is_late;
                }
            }
        }
    }
}

#[test]
fn slot_of_an_abandoned_call_is_free_when_its_reply_came() {
    let mut calls = PendingCalls::new(LIMIT, true);
    let (first, second) = (open(&mut calls, 0), open(&mut calls, 1));
    calls.abandon(first);
    assert_eq!(calls.len(), 2);
    reply(&mut calls, b"1", &mut Vec::new());
    assert_eq!(calls.len(), 1);
    reply(&mut calls, b"2", &mut Vec::new());
    calls.abandon(second);
    assert_eq!(calls.len(), 0);
}

#[test]
fn large_reply_keeps_no_memory_in_its_slot() {
    let kept = |calls: &PendingCalls| match &calls.slots[0].result {
        Ok(buffer) => buffer.capacity(),
        Err(_) => 0,
    };
    let mut calls = PendingCalls::new(LIMIT, true);
    // The second call gets the spare buffer that the first has left.
    for is_abandoned in [false, false, true] {
        let index = open(&mut calls, 0);
        reply(&mut calls, &vec![0; 1 << 20], &mut Vec::new());
        if is_abandoned {
            calls.abandon(index);
        } else {
            taken(&mut calls, index).expect("a reply");
        }
        assert!(kept(&calls) <= 4 * 1024, "{}", kept(&calls));
    }
    let index = open(&mut calls, 0);
    calls.abandon(index);
    reply(&mut calls, &vec![0; 1 << 20], &mut Vec::new());
    assert_eq!((calls.len(), kept(&calls)), (0, 0));
}

#[test]
fn late_call_ends_once_and_keeps_its_place() {
    let mut calls = PendingCalls::new(LIMIT, true);
    let mut wakers = Vec::new();
    let (first, second) = (open(&mut calls, 0), open(&mut calls, 1));
    for _ in 0..LIMIT {
        assert!(tick(&mut calls, &mut wakers) && wakers.is_empty());
    }
    // With nothing from the server, the connection ends instead.
    assert!(!tick(&mut calls, &mut wakers) && wakers.is_empty());
    calls.record_arrival();
    assert!(tick(&mut calls, &mut wakers));
    assert_eq!(wakers.len(), 2);
    assert!(matches!(calls.take_result(first), Some(Err(_))));
    reply(&mut calls, b"1", &mut wakers);
    // It comes before its caller looks, but too late.
    reply(&mut calls, b"2", &mut wakers);
    assert!(matches!(calls.take_result(second), Some(Err(_))));
    assert_eq!(calls.len(), 0);
}

#[test]
fn late_call_gets_neither_the_parts_of_its_reply_nor_its_rejection() {
    for is_rejected in [false, true] {
        let mut calls = PendingCalls::new(LIMIT, true);
        let peer = Peer::unnamed();
        let index = open(&mut calls, 0);
        assert!(calls.add_part(index, b"ear", 100, &peer).is_ok());
        for _ in 0..=LIMIT {
            calls.record_arrival();
            let late =
                |_| Error::reply_timed_out(&peer, PassedLimit::reply_timeout(Duration::ZERO));
            assert!(calls.tick(&mut Vec::new(), late));
        }
        assert!(calls.add_part(index, b"l", 100, &peer).is_ok());
        let result = if is_rejected {
            Err(FailedCall::without_retry(error()).into())
        } else {
            Ok(b"y".as_slice())
        };
        calls.complete::<Multiplexed>(index, result, &peer, &mut Vec::new());
        let result = calls.take_result(index).expect("a result");
        let failure = result.expect_err("it is late");
        assert_eq!(failure.error.kind(), crate::ErrorKind::TimedOut);
        assert_eq!(calls.len(), 0);
    }
}

#[test]
fn call_behind_one_whose_items_have_come_is_late_in_time() {
    let mut calls = PendingCalls::new(LIMIT, true);
    let (stream, call) = (open(&mut calls, 0), open(&mut calls, 1));
    calls.items.insert(stream, Messages::default());
    for _ in 0..LIMIT {
        assert!(tick(&mut calls, &mut Vec::new()));
    }
    calls.record_arrival();
    assert!(calls.add_item(stream, b"1", &mut Vec::new()));
    calls.abandon(stream);
    assert!(calls.take_result(call).is_none());
    assert!(tick(&mut calls, &mut Vec::new()));
    assert!(matches!(calls.take_result(call), Some(Err(_))));
}

#[test]
fn late_call_that_is_abandoned_is_free_when_its_reply_came() {
    for is_late in [false, true] {
        let mut calls = PendingCalls::new(LIMIT, true);
        let (first, second) = (open(&mut calls, 0), open(&mut calls, 1));
        if !is_late {
            calls.abandon(first);
        }
        for _ in 0..=LIMIT {
            calls.record_arrival();
            assert!(tick(&mut calls, &mut Vec::new()));
        }
        if is_late {
            calls.abandon(first);
        }
        assert!(calls.take_result(first).is_none());
        reply(&mut calls, b"1", &mut Vec::new());
        assert_eq!(calls.len(), 1);
        assert!(matches!(calls.take_result(second), Some(Err(_))));
    }
}

#[test]
fn slot_of_a_failed_call_is_used_again() {
    let mut calls = PendingCalls::new(LIMIT, true);
    let index = open(&mut calls, 0);
    calls.complete::<Multiplexed>(
        index,
        Err(FailedCall::without_retry(error()).into()),
        &Peer::unnamed(),
        &mut Vec::new(),
    );
    assert!(matches!(calls.take_result(index), Some(Err(_))));
    let index = open(&mut calls, 1);
    reply(&mut calls, b"1", &mut Vec::new());
    assert_eq!(taken(&mut calls, index), Some(b"1".to_vec()));
    assert!(calls.oldest().is_none() && calls.len() == 0);
}

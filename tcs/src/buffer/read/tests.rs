use std::{future::poll_fn, task::Waker};

use tokio::io::AsyncWriteExt as _;

use super::*;

/// Reads as a client does.
fn poll_read<S: AsyncRead + Unpin>(
    read: &mut ReadBuffer,
    cx: &mut Context<'_>,
    stream: &mut S,
) -> Poll<Result<usize, ReadError>> {
    let polled = read.poll_read(&mut ReadAhead::default(), cx, stream);
    if polled.is_pending() {
        read.release();
    }
    polled
}

fn fill(read: &mut ReadBuffer, mut bytes: &[u8]) {
    let mut cx = Context::from_waker(Waker::noop());
    match poll_read(read, &mut cx, &mut bytes) {
        Poll::Ready(filled) => drop(filled.expect("slices have no errors")),
        Poll::Pending => panic!("slices are ready"),
    }
}

fn unread(read: &ReadBuffer) -> &[u8] {
    read.input(usize::MAX, Side::Server).bytes()
}

#[test]
fn consumed_bytes_leave_and_the_rest_stays() {
    let mut read = ReadBuffer::default();
    fill(&mut read, b"abcdef");
    let frame = read.consume(&(1..3), 4);
    assert_eq!(read.bytes_at(frame), b"bc");
    fill(&mut read, b"gh");
    assert_eq!(unread(&read), b"efgh");
    assert_eq!(read.arrived_of_frame(), 4);
}

#[test]
fn bytes_consumed_before_they_arrive_are_dropped_when_they_do() {
    let mut read = ReadBuffer::default();
    fill(&mut read, b"abc");
    read.consume(&(0..0), 7);
    assert_eq!(read.arrived_of_frame(), 3);
    fill(&mut read, b"de");
    assert_eq!(unread(&read), b"");
    fill(&mut read, b"fghi");
    assert_eq!(unread(&read), b"hi");
}

#[test]
fn a_read_that_fills_the_buffer_and_the_end_are_reported() {
    let mut read = ReadBuffer::default();
    fill(&mut read, &vec![b'x'; 1 << 20]);
    assert_eq!(
        read.input(1, Side::Server).read_state(),
        ReadState::MaybeMore
    );
    fill(&mut read, b"y");
    assert_eq!(read.input(1, Side::Server).read_state(), ReadState::Idle);
    fill(&mut read, b"");
    assert!(read.has_ended());
}

#[test]
fn a_buffer_is_not_much_larger_than_what_has_arrived() {
    for (length, max) in [(100_000, 200_000), ((16 << 20) + 4, 24 << 20)] {
        let mut read = ReadBuffer::default();
        while read.unread_len() < length {
            let room = read.capacity().max(1).min(length - read.unread_len());
            fill(&mut read, &vec![b'x'; room]);
        }
        assert!(read.capacity() <= max, "{}", read.capacity());
    }
}

#[test]
fn large_message_takes_the_buffer_that_its_thread_keeps() {
    let mut large = Vec::<u8>::with_capacity(300_000);
    let address = large.as_ptr().addr();
    pool::put(&mut large);
    let message: Vec<u8> = (0..=250).cycle().take(280_000).collect();
    let mut read = ReadBuffer::default();
    while read.unread_len() < message.len() {
        let rest = &message[read.unread_len()..];
        fill(&mut read, rest);
    }
    assert_eq!(read.buffer.as_ptr().addr(), address);
    assert_eq!(unread(&read), message);
}

#[tokio::test]
async fn buffer_that_was_filled_exactly_is_a_pause_after_all() {
    let (mut near, mut far) = tokio::io::duplex(1 << 20);
    let mut read = ReadBuffer::default();
    let mut cx = Context::from_waker(Waker::noop());
    read.buffer = Vec::with_capacity(NEW_CAPACITY);
    let room = read.buffer.capacity();
    far.write_all(&vec![b'x'; room])
        .await
        .expect("the pipe is open");
    assert!(poll_read(&mut read, &mut cx, &mut near).is_ready());
    assert_eq!(read.read_state, ReadState::MaybeMore);
    assert!(poll_read(&mut read, &mut cx, &mut near).is_ready());
    assert_eq!(read.read_state, ReadState::Idle);
    assert!(poll_read(&mut read, &mut cx, &mut near).is_pending());
}

#[tokio::test]
async fn task_that_has_done_enough_for_now_is_no_pause() {
    let (mut near, mut far) = tokio::io::duplex(1 << 20);
    let mut read = ReadBuffer::default();
    read.buffer = Vec::with_capacity(NEW_CAPACITY);
    let room = read.buffer.capacity();
    far.write_all(&vec![b'x'; room + 1])
        .await
        .expect("the pipe is open");
    poll_fn(|cx| {
        assert!(poll_read(&mut read, cx, &mut near).is_ready());
        assert_eq!(read.read_state, ReadState::MaybeMore);
        while let Poll::Ready(restore) = coop::poll_proceed(cx) {
            restore.made_progress();
        }
        assert!(poll_read(&mut read, cx, &mut near).is_pending());
        Poll::Ready(())
    })
    .await;
    tokio::task::yield_now().await;
    let filled = poll_fn(|cx| poll_read(&mut read, cx, &mut near)).await;
    filled.expect("the pipe is open");
    assert_eq!(unread(&read).len(), room + 1);
}

#[tokio::test]
async fn waiting_read_holds_no_buffer() {
    let (mut near, mut far) = tokio::io::duplex(64);
    let mut read = ReadBuffer::default();
    let mut cx = Context::from_waker(Waker::noop());
    far.write_all(b"abc").await.expect("the pipe is open");
    assert!(poll_read(&mut read, &mut cx, &mut near).is_ready());
    read.consume(&(0..3), 3);
    assert!(poll_read(&mut read, &mut cx, &mut near).is_pending());
    assert_eq!(read.buffer.capacity(), 0);
}

#[test]
fn large_message_takes_the_memory_of_its_buffer() {
    let budget = MemoryBudget::new(1 << 20);
    let mut read = ReadBuffer::within_budget();
    let reserved = budget.try_reserve(1 << 20).expect("it is free");
    read.grow_to(1 << 20, reserved);
    let length = 600 << 10;
    let sent = [b'a', b'b'].map(|byte| [byte].repeat(length));
    let frame = |length| ParsedFrame::message(0..length, length);
    fill(&mut read, &sent[0]);
    while read.unread_len() < length {
        let arrived = read.unread_len();
        fill(&mut read, &sent[0][arrived..]);
    }
    fill(&mut read, b"rest");
    let large = read.take_owned(&frame(length), &budget).expect("its own");
    assert_eq!((large.bytes(), unread(&read)), (&sent[0][..], &b"rest"[..]));
    assert!(!read.has_reserved() && budget.try_reserve(1).is_none());
    // A small one is copied.
    let small = read.take_owned(&frame(4), &budget).expect("it is small");
    assert_eq!(small.bytes(), b"rest");
    drop(large);
    // A message that leaves most of its buffer unused is copied, too, within the budget.
    let reserved = budget.try_reserve(512 << 10).expect("it is free");
    read.grow_to(512 << 10, reserved);
    while read.unread_len() < 500 << 10 {
        fill(&mut read, &sent[1]);
    }
    let copied = read.take_owned(&frame(200 << 10), &budget).expect("a copy");
    assert_eq!(copied.bytes(), &sent[1][..200 << 10]);
    assert!(read.has_reserved());
    let more = budget.try_reserve(256 << 10).expect("it is free");
    assert!(read.take_owned(&frame(200 << 10), &budget).is_err());
    drop((copied, more));
    assert!(budget.try_reserve(512 << 10).is_some());
}

#[test]
fn what_was_read_ahead_comes_before_what_the_stream_has() {
    let mut cx = Context::from_waker(Waker::noop());
    let (mut buffer, mut ahead) = (ReadBuffer::default(), ReadAhead::default());
    fill(&mut buffer, b"ab");
    assert!(ahead.poll_read(&mut cx, &mut &b"cd"[..]).is_ready());
    let read = buffer.poll_read(&mut ahead, &mut cx, &mut &b"never"[..]);
    assert!(read.is_ready());
    assert_eq!((unread(&buffer), buffer.has_ended()), (&b"abcd"[..], true));
    assert!(ahead.is_unused());
}

#[test]
fn bytes_to_be_skipped_are_dropped_when_they_were_read_ahead() {
    let mut cx = Context::from_waker(Waker::noop());
    let (mut buffer, mut ahead) = (ReadBuffer::default(), ReadAhead::default());
    fill(&mut buffer, b"abc");
    buffer.consume(&(0..0), 5);
    assert!(ahead.poll_read(&mut cx, &mut &b"defg"[..]).is_ready());
    let read = buffer.poll_read(&mut ahead, &mut cx, &mut tokio::io::empty());
    assert!(read.is_ready());
    assert_eq!(unread(&buffer), b"fg");
}

#[test]
fn reset_buffer_does_not_know_when_the_bytes_before_were_read_ahead() {
    let mut cx = Context::from_waker(Waker::noop());
    let (mut buffer, mut ahead) = (ReadBuffer::default(), ReadAhead::default());
    assert!(ahead.poll_read(&mut cx, &mut &b"ab"[..]).is_ready());
    let earlier = Instant::now();
    ahead.record_read(earlier);
    let read = buffer.poll_read(&mut ahead, &mut cx, &mut tokio::io::empty());
    assert!(read.is_ready());
    buffer.clear();
    fill(&mut buffer, b"c");
    buffer.record_arrival(0);
    assert_ne!(buffer.frames().last_arrival().time, Some(earlier));
}

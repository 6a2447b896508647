//! Functions and streamed replies of one connection that always have more to do.

use std::{
    collections::BTreeSet,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tcs::{
    ConcurrentServer,
    framing::Multiplexed,
    protocol::{Closed, Push, PushGroup, Replies},
    server_protocol,
};
#[cfg(target_os = "linux")]
use tcs_tests::channel::settle;
use tcs_tests::{
    RawPeer, Running, code,
    ids::{
        kind::{EVENTS, ITEMS},
        message_of, receive_frame,
    },
    serve_in_memory, start, within,
};
#[cfg(target_os = "linux")]
use tokio::net::TcpSocket;
use tokio::task::yield_now;

/// Less than the credit that a stream begins with.
const ITEMS_OF_EACH: usize = 250;

#[server_protocol(framing = Multiplexed, replies = &str, push = &str)]
async fn feed(
    name: &str,
    #[state] room: &Arc<PushGroup<Feed>>,
    push: Push<Feed>,
    mut out: Replies<'_, Feed>,
) -> Result<String, String> {
    if name == "now" {
        return Ok(name.to_owned());
    }
    room.join(&push);
    for _ in 0..ITEMS_OF_EACH {
        out.send(&"i".repeat(1_016)).await?;
    }
    Ok(name.to_owned())
}

#[tokio::test]
async fn streams_take_turns_and_an_event_comes_between_them() {
    let room = Arc::new(PushGroup::new());
    let server = ConcurrentServer::new(Feed::new(Arc::clone(&room)));
    let (mut peer, serving) = serve_in_memory(server, 1 << 12);
    peer.send([message_of(1, "a"), message_of(2, "b")].concat())
        .await;
    let (mut items, mut replies) = ([0; 2], 0);
    let mut run = (0, 0);
    let (mut event, mut before_second) = (None, None);
    while replies < 2 {
        let (id, kind, text) = within(receive_frame(&mut peer)).await;
        match (id, kind) {
            (0, Some(EVENTS)) | (1 | 2, Some(ITEMS)) => {}
            (0, None) => {
                assert_eq!((&*text, event), (&b"news"[..], None));
                event = Some(items);
            }
            (id @ (1 | 2), None) if text.len() == 1_016 => {
                if id == 2 {
                    before_second.get_or_insert(items[0]);
                }
                items[id as usize - 1] += 1;
                run = if run.0 == id {
                    (id, run.1 + 1)
                } else {
                    (id, 1)
                };
                // A turn is 16 KiB, which are 16 items. The first stream begins alone, and one has two turns while the
                // function of the other is polled for more.
                let other_waits = (1..ITEMS_OF_EACH).contains(&items[2 - id as usize]);
                assert!(!other_waits || run.1 <= 32, "{run:?} of {items:?}");
                if items[0] + items[1] == 100 {
                    assert_eq!(room.send("news").expect("it fits"), 1);
                }
            }
            (1 | 2, None) => replies += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(items, [ITEMS_OF_EACH; 2]);
    // The second stream begins long before the first has ended.
    let before_second = before_second.expect("it has items");
    assert!(before_second < ITEMS_OF_EACH, "{before_second}");
    let event = event.expect("it has come");
    // What is framed before it: no more than the write buffer holds.
    assert!((100..250).contains(&(event[0] + event[1])), "{event:?}");
    drop(peer);
    assert_eq!(within(serving).await.expect("no panic").requests.served, 2);
}

/// What functions have done that are always woken.
#[derive(Debug, Default)]
struct Spins {
    called: AtomicUsize,
    polls: AtomicUsize,
}

/// Is woken again each time it is polled, until its peer has left.
#[server_protocol(framing = Multiplexed)]
async fn busy(request: &str, #[state] spins: &Arc<Spins>, closed: Closed<'_>) -> String {
    if request == "spin" {
        spins.called.fetch_add(1, Relaxed);
        let mut closed = pin!(closed.into_future());
        poll_fn(|cx| {
            spins.polls.fetch_add(1, Relaxed);
            cx.waker().wake_by_ref();
            closed.as_mut().poll(cx)
        })
        .await;
    }
    request.to_owned()
}

/// Serves functions that are always woken, each of which uses up a poll of the connection.
async fn serve_busy() -> (RawPeer, Running, Arc<Spins>) {
    let spins = Arc::<Spins>::default();
    let server = ConcurrentServer::new(Busy::new(Arc::clone(&spins)));
    let server = server
        .poll_budget(Duration::ZERO)
        .drain_timeout(Duration::ZERO);
    let server = start(server).await;
    let mut peer = server.peer().await;
    let requests = (1..=BUSY).map(|id| message_of(id, "spin"));
    peer.send(requests.collect::<Vec<_>>().concat()).await;
    let all_spin = async {
        while spins.called.load(Relaxed) < BUSY as usize {
            yield_now().await;
        }
    };
    within(all_spin).await;
    (peer, server, spins)
}

/// How many functions are always woken.
const BUSY: u32 = 100;

#[tokio::test]
async fn request_beside_functions_that_are_always_woken_is_called_soon() {
    let (mut peer, server, spins) = serve_busy().await;
    for id in BUSY + 1..=BUSY + 10 {
        let before = spins.polls.load(Relaxed);
        peer.send(message_of(id, "now")).await;
        let reply = (id, None, b"now".to_vec());
        assert_eq!(within(receive_frame(&mut peer)).await, reply);
        let polled = spins.polls.load(Relaxed) - before;
        assert!(polled < 10, "{polled}");
    }
    drop(peer);
    server.handle().stop();
    // Some functions may not have noticed yet that the peer has left.
    drop(within(server.result()).await);
}

#[tokio::test]
async fn peer_is_told_of_an_abort_that_is_seen_between_two_polls() {
    let (mut peer, server, _) = serve_busy().await;
    server.handle().stop();
    for _ in 0..BUSY {
        let (id, kind, text) = within(receive_frame(&mut peer)).await;
        assert!((1..=BUSY).contains(&id), "{id}");
        assert_eq!(kind, Some(code::FAILED));
        assert_eq!(text, b"the server ended before the reply");
    }
    let (id, kind, _) = within(receive_frame(&mut peer)).await;
    assert_eq!((id, kind), (0, Some(code::GOING_AWAY)));
    assert!(within(peer.rest()).await.is_empty());
    let report = within(server.finished_after_aborting(1)).await;
    assert_eq!(report.requests.aborted, u64::from(BUSY));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn small_reply_does_not_wait_for_what_streams_have_left_in_the_system() {
    /// The buffer of the peer, which the system may double. The server has twice 64 KiB that it has not sent.
    const ROOM: u32 = 64 * 1024;
    const STREAMS: u32 = 32;
    let server = ConcurrentServer::new(Feed::new(Arc::default()));
    let server = start(server).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(ROOM).expect("TCP has it");
    let stream = within(socket.connect(server.addr())).await;
    let mut peer = RawPeer::of(stream.expect("it listens"));
    let requests = (1..=STREAMS).map(|id| message_of(id, "stream"));
    peer.send(requests.collect::<Vec<_>>().concat()).await;
    let mut begun = BTreeSet::new();
    while begun.len() < STREAMS as usize {
        let (id, ..) = within(receive_frame(&mut peer)).await;
        begun.insert(id);
    }
    // Then the server has sent what it can.
    settle().await;
    peer.send(message_of(STREAMS + 1, "now")).await;
    let mut before = 0;
    while before < 16 * ROOM as usize {
        let (id, _, text) = within(receive_frame(&mut peer)).await;
        if id == STREAMS + 1 {
            drop(peer);
            within(server.stopped()).await;
            return;
        }
        before += text.len();
    }
    panic!("{before} bytes of others came before it");
}

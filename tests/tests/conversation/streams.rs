//! Replies of many messages.

use std::{
    future::pending,
    marker::PhantomData,
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tcs::{
    ConcurrentServer, ConnectionInfo, Rejection,
    format::Plain,
    framing::{Framing, LengthPrefixed, Lines},
    protocol::{Context, Receives, Replies, Requests, SendError, ServerProtocol, Streams},
    server_protocol,
};
use tcs_tests::{
    Act, Gate, Heard, Kind, Over, RawPeer, ReadyFn, WaitingFn, code, control, each_kind,
    ended_in_time, frame, gate, patiently, serve_in_memory, start, start_over, within,
};
use tokio::{
    join,
    task::yield_now,
    time::{Instant, sleep},
};

use crate::hub::{Wire, expect, hear};

each_kind!(
    [ready_async, waiting] over_each:
    items_come_before_the_reply,
    error_after_some_items_ends_the_stream,
);
each_kind!(
    [ready_async, waiting] paused:
    request_timeout_is_for_each_item,
    items_of_a_dropped_function_are_in_no_later_reply,
);
each_kind!(
    [ready_async, waiting] on_a_runtime:
    panic_after_some_items_is_one_failed_request,
);

/// Counts up to the request, with an item for each number.
struct Counter<K, F> {
    gate: Gate,
    sent: Arc<AtomicUsize>,
    kind: PhantomData<fn() -> (K, F)>,
}

/// Names the items.
enum Numbers {}

impl Streams for Numbers {
    type Format = Plain;
    type Item<'a> = &'a str;
}

impl<K: Kind, F: Framing> Counter<K, F> {
    fn new() -> Self {
        Self {
            gate: gate(),
            sent: Arc::default(),
            kind: PhantomData,
        }
    }

    async fn count(&self, to: usize, out: &mut Replies<'_, Numbers>) -> Result<(), SendError> {
        for number in 1..=to {
            // The item borrows from a local variable.
            let text = number.to_string();
            out.send(&text).await?;
            self.sent.store(number, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl<K: Kind, F: Framing> ServerProtocol for Counter<K, F> {
    type Framing = F;
    type Format = Plain;
    type Session = ();
    type Request<'a> = &'a str;
    type Reply<'a> = Result<String, String>;

    fn open_session(&self, _info: &ConnectionInfo) {}

    async fn process_request(
        &self,
        context: Context<'_, ()>,
        request: &str,
    ) -> Result<Result<String, String>, Rejection> {
        let mut out = context.info.replies::<Numbers>();
        let (to, then) = request.split_once(' ').unwrap_or((request, ""));
        if let Err(error) = self.count(to.parse().expect("a number"), &mut out).await {
            return Ok(Err(error.to_string()));
        }
        let function = || match then {
            "fail" => Act::Return(Err("no more".to_owned())),
            "panic" => panic!("after some items"),
            "wait" => Act::Wait(Ok("waited".to_owned())),
            _ => Act::Return(Ok("end".to_owned())),
        };
        let reply = K::process(context.info, &self.gate, function).await;
        match then {
            "hang" => pending().await,
            // A minute between two items.
            "slowly" => {
                for _ in 0..3 {
                    sleep(Duration::from_mins(1)).await;
                    out.send("later").await.expect("it fits");
                }
                Ok(reply)
            }
            _ => Ok(reply),
        }
    }
}

async fn items_come_before_the_reply<K: Kind>(over: Over) {
    come_before::<K, LengthPrefixed>(over).await;
    come_before::<K, Lines>(over).await;
}

async fn come_before<K: Kind, F: Wire>(over: Over) {
    let server = ConcurrentServer::new(Counter::<K, F>::new());
    let server = start_over(over, server).await;
    let mut peer = server.peer().await;
    // Pipelined, so that items and replies keep the order of the requests.
    let requests = ["3", "0", "1"].map(F::message).concat();
    let expected = [
        F::items(&["1", "2", "3"]),
        F::message("end"),
        F::message("end"),
        F::items(&["1"]),
        F::message("end"),
    ];
    expect(&mut peer, &requests, &expected.concat()).await;
    server.handle().stop();
    within(peer.rest()).await;
    let report = within(server.finished()).await;
    assert_eq!(report.requests.served, 3);
}

async fn error_after_some_items_ends_the_stream<K: Kind>(over: Over) {
    let server = ConcurrentServer::new(Counter::<K, LengthPrefixed>::new());
    let server = start_over(over, server).await;
    let mut peer = server.peer().await;
    peer.send(LengthPrefixed::message("2 fail")).await;
    hear(&mut peer, &LengthPrefixed::items(&["1", "2"])).await;
    let error = Heard::Control(code::ERROR, "no more".to_owned());
    assert_eq!(within(peer.hear()).await, error);
    let end = LengthPrefixed::message("end");
    expect(&mut peer, &LengthPrefixed::message("0"), &end).await;
}

async fn request_timeout_is_for_each_item<K: Kind>() {
    let server = ConcurrentServer::new(Counter::<K, Lines>::new());
    let server = server.request_timeout(Duration::from_secs(90));
    let (mut peer, _) = serve_in_memory(server, 1_000);
    let began = Instant::now();
    peer.send(b"1 slowly\n").await;
    let expected = b"1\nlater\nlater\nlater\nend\n";
    assert_eq!(patiently(peer.receive(expected.len())).await, expected);
    ended_in_time(began, Duration::from_mins(3));
}

async fn items_of_a_dropped_function_are_in_no_later_reply<K: Kind>() {
    let server = ConcurrentServer::new(Counter::<K, LengthPrefixed>::new());
    let server = server
        .request_timeout(Duration::from_secs(5))
        .write_timeout(Duration::from_mins(1));
    // Its peer does not read, so items are left when the function is dropped.
    let (mut peer, _) = serve_in_memory(server, 64);
    let request = LengthPrefixed::message("100000");
    peer.send(request).await;
    sleep(Duration::from_secs(10)).await;
    let (mut announced, mut last) = (0, 0);
    loop {
        match patiently(peer.receive(4)).await[..] {
            [0x80, ..] => {
                let notice = patiently(peer.receive(1)).await;
                if notice == [code::TIMED_OUT] {
                    break;
                }
                assert_eq!((&*notice, announced), (&[0x81][..], 0));
                let count = patiently(peer.receive(4)).await;
                announced = u32::from_be_bytes(count.try_into().expect("four"));
            }
            [0, 0, 0, length] => {
                announced -= 1;
                let text = patiently(peer.receive(length.into())).await;
                let text = String::from_utf8(text).expect("digits");
                assert_eq!(text, (last + 1).to_string());
                last += 1;
            }
            ref other => panic!("{other:?}"),
        }
    }
    assert_eq!(announced, 0);
    assert!(last < 100_000);
    let text = "no reply within 5s (`request_timeout`)";
    assert_eq!(patiently(peer.receive(text.len())).await, text.as_bytes());
    let expected = [
        LengthPrefixed::items(&["1"]),
        LengthPrefixed::message("end"),
    ]
    .concat();
    peer.send(LengthPrefixed::message("1")).await;
    assert_eq!(patiently(peer.receive(expected.len())).await, expected);
}

async fn panic_after_some_items_is_one_failed_request<K: Kind>() {
    let server = ConcurrentServer::new(Counter::<K, LengthPrefixed>::new());
    let (mut peer, _) = serve_in_memory(server, 1_000);
    peer.send(LengthPrefixed::message("2 panic")).await;
    // If it waits first, its items are sent.
    let failed = loop {
        match within(peer.hear()).await {
            Heard::Control(0x81, _) | Heard::Message(_) => {}
            other => break other,
        }
    };
    let text = "the function panicked".to_owned();
    assert_eq!(failed, Heard::Control(code::FAILED, text));
    // Items that are left are in no later reply, also if its request was there already.
    let failed = control(code::FAILED, "the function panicked");
    let end = LengthPrefixed::message("end");
    let requests = ["2 panic", "0"].map(LengthPrefixed::message).concat();
    peer.send(requests).await;
    let heard = within(peer.receive(failed.len() + end.len())).await;
    if heard.starts_with(&failed) {
        assert_eq!(heard, [failed, end].concat());
    } else {
        // They were sent before it panicked.
        let items = LengthPrefixed::items(&["1", "2"]);
        let rest = within(peer.receive(items.len())).await;
        assert_eq!([heard, rest].concat(), [items, failed, end].concat());
    }
}

#[tokio::test(start_paused = true)]
async fn stream_goes_on_if_all_of_it_can_be_sent_at_once() {
    let server = ConcurrentServer::new(Counter::<ReadyFn, Lines>::new());
    let (mut peer, _) = serve_in_memory(server, 1 << 20);
    peer.send(b"100000\n").await;
    let numbers = (1..=100_000).map(|number| format!("{number}\n"));
    let expected: String = numbers.chain(["end\n".to_owned()]).collect();
    let began = Instant::now();
    let heard = patiently(peer.receive(expected.len())).await;
    assert!(heard == expected.as_bytes());
    // No sweep of the server had to wake it.
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn function_waits_for_a_peer_that_does_not_read() {
    let counter = Counter::<ReadyFn, Lines>::new();
    let sent = Arc::clone(&counter.sent);
    let (mut peer, _) = serve_in_memory(ConcurrentServer::new(counter), 64);
    peer.send(b"100000\n").await;
    sleep(Duration::from_secs(1)).await;
    // 64 KiB are staged, and as much is framed.
    let ahead = sent.load(Ordering::Relaxed);
    assert!((10_000..30_000).contains(&ahead), "{ahead}");
    for number in 1..=100_000 {
        let expected = format!("{number}\n");
        assert_eq!(
            patiently(peer.receive(expected.len())).await,
            expected.as_bytes()
        );
    }
    assert_eq!(patiently(peer.receive(4)).await, b"end\n");
}

#[tokio::test]
async fn function_is_dropped_when_its_peer_leaves() {
    let counter = Counter::<WaitingFn, Lines>::new();
    let sent = Arc::downgrade(&counter.sent);
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(counter), 64);
    peer.send(b"1000000\n").await;
    assert_eq!(within(peer.receive(4)).await, b"1\n2\n");
    drop(peer);
    let report = within(serving).await.expect("no panic");
    assert_eq!((report.requests.received, report.requests.aborted), (1, 1));
    assert!(sent.upgrade().is_none());
}

#[tokio::test]
async fn drain_waits_for_the_end_of_a_stream() {
    let counter = Counter::<ReadyFn, Lines>::new();
    let gate = counter.gate.clone();
    let server = start(ConcurrentServer::new(counter)).await;
    let mut peer = server.peer().await;
    peer.send(b"2 wait\n").await;
    within(gate.reached()).await;
    hear(&mut peer, b"1\n2\n").await;
    server.handle().stop();
    gate.open();
    assert_eq!(within(peer.rest()).await, b"waited\n");
    assert_eq!(within(server.finished()).await.requests.served, 1);
}

/// Sends from two futures with wakers of their own.
#[server_protocol(framing = Lines, replies = String)]
async fn two_at_once(text: &str, out: Replies<'_, TwoAtOnce>) -> String {
    let out = tokio::sync::Mutex::new(out);
    let send = async |word: &'static str| {
        for number in 0..20_000 {
            let sent = out.lock().await.send(format!("{word}{number}")).await;
            sent.expect("it fits");
            yield_now().await;
        }
    };
    join!(send("a"), send("b"));
    text.to_owned()
}

#[tokio::test]
async fn items_of_several_futures_keep_their_orders() {
    let (mut peer, _) = serve_in_memory(ConcurrentServer::new(TwoAtOnce), 1_000);
    peer.send(b"done\n").await;
    peer.finish().await;
    let heard = String::from_utf8(within(peer.rest()).await).expect("text");
    for word in ["a", "b"] {
        let items = heard.lines().filter_map(|line| line.strip_prefix(word));
        assert!(items.eq((0..20_000).map(|number| number.to_string())));
    }
    assert!(heard.ends_with("\ndone\n"));
}

/// Sends an item that is too long, and one that lines cannot carry.
#[server_protocol(framing = Lines, replies = &str)]
async fn unsendable(text: &str, mut out: Replies<'_, Unsendable>) -> Result<String, String> {
    let error = out
        .send(&"x".repeat(101))
        .await
        .expect_err("it is too long");
    out.send(&error.to_string()).await?;
    out.send(text).await?;
    Ok("end".to_owned())
}

#[tokio::test]
async fn item_that_cannot_be_sent_is_an_error_or_fails_the_request() {
    let server = ConcurrentServer::new(Unsendable).max_reply_len(100);
    let (mut peer, serving) = serve_in_memory(server, 1_000);
    let text =
        "an item cannot be sent: a message of 101 bytes exceeds `max_reply_len` of 100 bytes";
    expect(
        &mut peer,
        b"fine\n",
        format!("{text}\nfine\nend\n").as_bytes(),
    )
    .await;
    drop(peer);
    assert_eq!(within(serving).await.expect("no panic").requests.served, 1);
}

/// Sends numbers from an iterator: so many, or without end.
#[server_protocol(replies = String)]
async fn endless(
    most: usize,
    #[state] taken: &Arc<AtomicUsize>,
    mut out: Replies<'_, Endless>,
) -> Result<&'static str, String> {
    let numbers = (0..most).map(|number| {
        taken.store(number + 1, Ordering::Relaxed);
        number.to_string()
    });
    out.send_all(numbers).await?;
    Ok("end")
}

#[tokio::test(start_paused = true)]
async fn items_of_an_iterator_are_taken_as_the_peer_reads() {
    let taken = Arc::<AtomicUsize>::default();
    let server = ConcurrentServer::new(Endless::new(Arc::clone(&taken)));
    let (mut peer, serving) = serve_in_memory(server, 1_000);
    expect(
        &mut peer,
        &<LengthPrefixed as Wire>::message("2"),
        &[
            LengthPrefixed::items(&["0", "1"]),
            <LengthPrefixed as Wire>::message("end"),
        ]
        .concat(),
    )
    .await;
    let endless = <LengthPrefixed as Wire>::message(&usize::MAX.to_string());
    patiently(peer.send(endless)).await;
    let mut before = 0;
    for _ in 0..3 {
        // Until nothing moves any more.
        sleep(Duration::from_secs(1)).await;
        let now = taken.load(Ordering::Relaxed);
        // Each has 5 bytes or more, and twice 64 KiB have room.
        assert!((1_000..before + 40_000).contains(&now), "{before} {now}");
        before = now;
        patiently(peer.receive(100_000)).await;
    }
    drop(peer);
    assert_eq!(
        patiently(serving).await.expect("no panic").requests.served,
        1
    );
}

/// Sends items without end, or as many as it is asked for.
#[server_protocol(replies = &str)]
async fn feed(request: &str, mut out: Replies<'_, Feed>) -> Result<String, String> {
    repeat(request, &mut out).await
}

/// The same beside other requests.
#[server_protocol(replies = &str, concurrent = 4)]
async fn feed_beside(request: &str, mut out: Replies<'_, FeedBeside>) -> Result<String, String> {
    repeat(request, &mut out).await
}

/// The same, and counts its requests.
#[server_protocol(replies = &str)]
async fn counted_feed(
    request: &str,
    #[session] requests: &mut u32,
    mut out: Replies<'_, CountedFeed>,
) -> Result<String, String> {
    *requests += 1;
    repeat(request, &mut out).await?;
    Ok(requests.to_string())
}

async fn repeat<P>(request: &str, out: &mut Replies<'_, P>) -> Result<String, String>
where
    P: for<'a> Streams<Format = Plain, Item<'a> = &'a str>,
{
    let count = request.parse().unwrap_or(usize::MAX);
    for _ in 0..count {
        out.send("item").await?;
    }
    Ok("end".to_owned())
}

/// The next frame that is no item: its kind, if it is a control frame, and its text.
async fn hear_the_end(peer: &mut RawPeer) -> (Option<u8>, Vec<u8>) {
    loop {
        let header = peer.receive(4).await;
        let header = u32::from_be_bytes(header.try_into().expect("four"));
        let length = usize::try_from(header & 0x7fff_ffff).expect("64 bits");
        let text = peer.receive(length).await;
        match text.split_first() {
            Some((0x81, _)) if header >> 31 == 1 => {}
            Some((kind, text)) if header >> 31 == 1 => return (Some(*kind), text.to_vec()),
            _ if text == b"item" => {}
            _ => return (None, text),
        }
    }
}

/// A reply.
fn message(text: &str) -> (Option<u8>, Vec<u8>) {
    (None, text.as_bytes().to_vec())
}

async fn is_cancelled<P: ServerProtocol>(protocol: fn() -> P) {
    let cancel = control(0x87, "");
    let sent = [frame("endless"), cancel.clone(), frame("3")].concat();
    for cut in 0..=sent.len() {
        let server = ConcurrentServer::new(protocol());
        let (mut peer, serving) = serve_in_memory(server, 1 << 8);
        within(peer.send(&sent[..cut])).await;
        if cut >= frame("endless").len() {
            // What announces the first items.
            assert_eq!(within(peer.receive(4)).await, [0x80, 0, 0, 5]);
            within(peer.receive(5)).await;
        }
        within(peer.send(&sent[cut..])).await;
        let end = within(hear_the_end(&mut peer)).await;
        assert_eq!(end.0, Some(0x07), "{cut}: {end:?}");
        let end = within(hear_the_end(&mut peer)).await;
        assert_eq!(end, message("end"), "{cut}");
        // It has come too late.
        within(peer.send([&cancel[..], &frame("0")].concat())).await;
        let end = within(hear_the_end(&mut peer)).await;
        assert_eq!(end, message("end"), "{cut}");
        drop(peer);
        let requests = within(serving).await.expect("no panic").requests;
        assert_eq!((requests.received, requests.served), (3, 2), "{cut}");
    }
}

#[tokio::test]
async fn streamed_reply_without_end_is_cancelled_wherever_the_notice_is_cut() {
    is_cancelled(|| Feed).await;
    is_cancelled(|| FeedBeside).await;
}

#[tokio::test]
async fn function_with_a_session_is_not_cancelled() {
    let server = ConcurrentServer::new(CountedFeed);
    let (mut peer, _serving) = serve_in_memory(server, 1 << 8);
    within(peer.send([frame("1000"), control(0x87, ""), frame("0")].concat())).await;
    for count in ["1", "2"] {
        let end = within(hear_the_end(&mut peer)).await;
        assert_eq!(end, message(count));
    }
}

/// Sends an item, and joins the chunks of its request.
#[server_protocol(replies = &str, requests = &str)]
async fn both(
    name: &str,
    mut out: Replies<'_, Both>,
    mut more: Requests<'_, Both>,
) -> Result<String, String> {
    out.send("item").await?;
    join_all(name, &mut more).await
}

/// The same with a session, which would be lost.
#[server_protocol(replies = &str, requests = &str)]
async fn counted_both(
    name: &str,
    #[session] requests: &mut u32,
    mut out: Replies<'_, CountedBoth>,
    mut more: Requests<'_, CountedBoth>,
) -> Result<String, String> {
    *requests += 1;
    out.send("item").await?;
    join_all(name, &mut more).await
}

async fn join_all<P>(name: &str, more: &mut Requests<'_, P>) -> Result<String, String>
where
    P: for<'a> Receives<Format = Plain, Chunk<'a> = &'a str>,
{
    let mut joined = name.to_owned();
    while let Some(chunk) = more.next().await? {
        joined.push_str(chunk);
    }
    Ok(joined)
}

#[tokio::test]
async fn function_that_waits_for_a_chunk_is_cancelled() {
    let chunks = |count| [&[0x80, 0, 0, 5, 0x83, 0, 0, 0][..], &[count]].concat();
    let cancel = control(0x87, "");
    // What has come of the chunks, and what still comes.
    for (before, late) in [
        (vec![], vec![]),
        (chunks(2), frame("late")),
        ([chunks(2), frame("b")].concat(), frame("late")),
        ([chunks(1), frame("b")].concat(), vec![]),
    ] {
        let sent = [&frame("a")[..], &before, &cancel].concat();
        for cut in 0..=sent.len() {
            let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Both), 1 << 10);
            within(peer.send(&sent[..cut])).await;
            for _ in 0..5 {
                yield_now().await;
            }
            within(peer.send(&sent[cut..])).await;
            let end = within(hear_the_end(&mut peer)).await;
            assert_eq!(end.0, Some(0x07), "{before:?}, {cut}: {end:?}");
            let rest = [&late[..], &control(0x84, ""), &frame("next")].concat();
            within(peer.send(rest)).await;
            within(peer.finish()).await;
            let end = within(hear_the_end(&mut peer)).await;
            assert_eq!(end, message("next"), "{before:?}, {cut}");
            drop(peer);
            let requests = within(serving).await.expect("no panic").requests;
            assert_eq!((requests.received, requests.served), (2, 1));
        }
    }
}

#[tokio::test]
async fn function_with_a_session_that_waits_for_a_chunk_goes_on() {
    let (mut peer, _serving) = serve_in_memory(ConcurrentServer::new(CountedBoth), 1 << 10);
    let (cancel, chunk) = (control(0x87, ""), [0x80, 0, 0, 5, 0x83, 0, 0, 0, 1]);
    within(peer.send([&frame("a")[..], &cancel, &chunk, &frame("b"), &cancel].concat())).await;
    within(peer.send([control(0x84, ""), frame("next")].concat())).await;
    within(peer.finish()).await;
    for reply in ["ab", "next"] {
        assert_eq!(within(hear_the_end(&mut peer)).await, message(reply));
    }
}

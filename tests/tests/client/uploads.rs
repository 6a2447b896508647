//! Requests that are followed by chunks, on a `Connection`.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use tcs::{
    ConcurrentServer, Connection, Error, ErrorKind, Execution, RejectionKind,
    client::{ConnectOptions, Upload},
    format::Plain,
    framing::{CrlfLines, Framing, LengthPrefixed, Lines},
    protocol::{Contract, Receives, Requests, ServerProtocol},
    server_protocol,
};
use tcs_tests::{
    Heard, Over, RawPeer,
    client::{Prefixed, Text, connected, events, hears, items, told, uploaded},
    code, control, frame, memory, over_each, patiently,
    script::{closes, expects, play, sends},
    serve_in_memory, start_over, within,
};
use tokio::{
    task::yield_now,
    time::{Instant, advance},
};

const SECOND: Duration = Duration::from_secs(1);

over_each!(
    chunks_reach_a_function_that_waits_for_them,
    ten_megabytes_arrive,
    function_that_returns_early_is_sent_no_more,
    upload_that_is_dropped_is_cut_at_the_server,
);

async fn opened<F: Framing>(connection: &mut Connection<F>) -> Upload<'_, Text<F>> {
    let upload = within(connection.upload::<Text<F>>("go")).await;
    upload.expect("it is open")
}

async fn send<F: Framing>(upload: &mut Upload<'_, Text<F>>, chunks: &[&str]) {
    for chunk in chunks {
        patiently(upload.send(chunk)).await.expect("it is open");
    }
}

async fn finish<F: Framing>(upload: Upload<'_, Text<F>>) -> Result<String, Error> {
    patiently(upload.finish()).await.map(str::to_owned)
}

async fn call<F: Framing>(connection: &mut Connection<F>, request: &str) -> Result<String, Error> {
    let reply = patiently(connection.call::<Text<F>>(request)).await?;
    Ok(reply.to_owned())
}

/// Fails unless the connection is closed, for this reason.
async fn is_closed<F: Framing>(connection: &mut Connection<F>, reason: &str) {
    let error = call(connection, "again").await.expect_err("it is closed");
    assert_eq!(told(&error), (ErrorKind::Broken, Execution::NotSent));
    assert!(error.to_string().ends_with(reason), "{error}");
}

/// Polls `send` once, which waits, and drops it.
async fn send_waits(upload: &mut Upload<'_, Prefixed>, chunk: &str) {
    poll_fn(|cx| {
        assert!(pin!(upload.send(chunk)).poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

#[tokio::test]
async fn request_is_followed_by_announced_chunks_and_their_end() {
    let steps = [
        expects(uploaded("go", &["one", "", "three"])),
        sends(frame("thanks")),
        expects(uploaded("go", &[])),
        sends(frame("for nothing")),
        expects(frame("again")),
        sends(frame("yes")),
    ];
    let (mut connection, server) = connected::<LengthPrefixed>(steps).await;
    let mut upload = opened(&mut connection).await;
    send(&mut upload, &["one", "", "three"]).await;
    assert_eq!(finish(upload).await.expect("a reply"), "thanks");
    let upload = opened(&mut connection).await;
    assert_eq!(finish(upload).await.expect("a reply"), "for nothing");
    assert_eq!(
        call(&mut connection, "again").await.expect("a reply"),
        "yes"
    );
    server.finished().await;
}

#[tokio::test]
async fn server_gets_the_request_and_each_chunk_at_once() {
    let (mut connection, mut peer) = memory::connection::<LengthPrefixed>(1 << 10);
    let mut upload = opened(&mut connection).await;
    hears(&mut peer, "go").await;
    // The count of the announcement: none so far.
    let none = Heard::Control(0x83, "\0\0\0\0".to_owned());
    assert_eq!(within(peer.hear()).await, none);
    let one = Heard::Control(0x83, "\0\0\0\x01".to_owned());
    for chunk in ["a", "b"] {
        send(&mut upload, &[chunk]).await;
        assert_eq!(within(peer.hear()).await, one);
        hears(&mut peer, chunk).await;
    }
}

#[tokio::test]
async fn chunks_are_messages_without_control_frames() {
    let (mut connection, server) = connected::<Lines>([
        expects("go\nfrom Ann\n\n.\n"),
        sends("250 ok\n"),
        expects("again\n"),
        sends("250 yes\n"),
    ])
    .await;
    let mut upload = opened(&mut connection).await;
    send(&mut upload, &["from Ann", "", "."]).await;
    assert_eq!(finish(upload).await.expect("a reply"), "250 ok");
    let again = call(&mut connection, "again").await;
    assert_eq!(again.expect("a reply"), "250 yes");
    server.finished().await;
}

#[tokio::test]
async fn bytes_are_the_same_however_little_the_server_reads_at_a_time() {
    let sent = uploaded("go", &["one", "", "three"]);
    for room in 1..=sent.len() {
        let (mut connection, peer) = memory::connection::<LengthPrefixed>(room);
        let server = play(peer, [expects(&sent), sends(frame("thanks"))]);
        let mut upload = opened(&mut connection).await;
        send(&mut upload, &["one", "", "three"]).await;
        assert_eq!(finish(upload).await.expect("a reply"), "thanks", "{room}");
        server.finished().await;
    }
}

#[tokio::test]
async fn server_that_closes_anywhere_is_an_error() {
    let sent = uploaded("go", &["one", "two"]);
    let reply = frame("thanks");
    for cut in 0..sent.len() + reply.len() {
        let (mut connection, peer) = memory::connection::<LengthPrefixed>(1);
        let read = cut.min(sent.len());
        let said = &reply[..cut - read];
        let server = play(peer, [expects(&sent[..read]), sends(said), closes()]);
        let uploading = async {
            let mut upload = within(connection.upload::<Prefixed>("go")).await?;
            within(upload.send("one")).await?;
            within(upload.send("two")).await?;
            finish(upload).await
        };
        let error = uploading.await.expect_err("it is cut");
        let kinds = [ErrorKind::Closed, ErrorKind::Io];
        assert!(kinds.contains(&error.kind()), "{cut}: {error:?}");
        if cut > 0 {
            assert_eq!(error.execution(), Execution::Unknown, "{cut}");
        }
        drop(server);
    }
}

#[tokio::test]
async fn early_reply_ends_the_chunks_and_is_returned_by_finish() {
    let rejection = control(code::ERROR, "no room");
    for (early, reply) in [(frame("enough"), Ok("enough")), (rejection, Err("no room"))] {
        let (mut connection, mut peer) = memory::connection::<LengthPrefixed>(1 << 10);
        let mut upload = opened(&mut connection).await;
        send(&mut upload, &["one"]).await;
        assert!(!upload.is_answered());
        within(peer.send(early)).await;
        send(&mut upload, &["two", "three"]).await;
        assert!(upload.is_answered());
        match reply {
            Ok(reply) => assert_eq!(finish(upload).await.expect("a reply"), reply),
            Err(text) => {
                let error = finish(upload).await.expect_err("no reply");
                assert_eq!(told(&error), (ErrorKind::Rejected, Execution::Executed));
                assert_eq!(error.rejection().expect("a rejection").text(), text);
            }
        }
        let server = play(
            peer,
            [
                expects([uploaded("go", &["one"]), frame("again")].concat()),
                sends(frame("yes")),
            ],
        );
        assert_eq!(
            call(&mut connection, "again").await.expect("a reply"),
            "yes"
        );
        server.finished().await;
    }
}

#[tokio::test]
async fn early_reply_of_a_dropped_upload_leaves_the_connection_usable() {
    let (mut connection, mut peer) = memory::connection::<LengthPrefixed>(1 << 10);
    let mut upload = opened(&mut connection).await;
    within(peer.send(frame("enough"))).await;
    send(&mut upload, &["one"]).await;
    drop(upload);
    within(peer.receive(uploaded("go", &[]).len() - 5)).await;
    let server = play(peer, [expects(frame("again")), sends(frame("yes"))]);
    assert_eq!(
        call(&mut connection, "again").await.expect("a reply"),
        "yes"
    );
    server.finished().await;
}

#[tokio::test]
async fn early_reply_without_control_frames_closes_the_connection_after_it() {
    let (mut connection, mut peer) = memory::connection::<Lines>(1 << 10);
    let mut upload = opened(&mut connection).await;
    send(&mut upload, &["one"]).await;
    within(peer.send("550 no\n")).await;
    send(&mut upload, &["two"]).await;
    assert_eq!(finish(upload).await.expect("a reply"), "550 no");
    is_closed(
        &mut connection,
        "the server answered an upload before its end",
    )
    .await;
    assert_eq!(within(peer.rest()).await, b"go\none\n");
}

#[tokio::test]
async fn final_rejection_is_an_error_of_send() {
    let (mut connection, mut peer) = memory::connection::<LengthPrefixed>(1 << 10);
    let mut upload = opened(&mut connection).await;
    within(peer.send(control(code::GOING_AWAY, "later"))).await;
    let error = within(upload.send("one")).await.expect_err("it is over");
    assert_eq!(told(&error), (ErrorKind::Rejected, Execution::NotExecuted));
    let kind = error.rejection().expect("a rejection").kind();
    assert_eq!(kind, RejectionKind::GoingAway);
    let over = (ErrorKind::Broken, Execution::Unknown);
    let error = within(upload.send("two")).await.expect_err("it is over");
    assert_eq!(told(&error), over);
    let error = finish(upload).await.expect_err("it is over");
    assert_eq!(told(&error), over);
}

#[tokio::test(start_paused = true)]
async fn server_that_never_reads_ends_the_upload_at_the_reply_timeout() {
    let options = ConnectOptions::new().reply_timeout(10 * SECOND);
    let (mut connection, _peer) = memory::connection_with::<LengthPrefixed>(&options, 1 << 10);
    let mut upload = opened(&mut connection).await;
    let chunk = "x".repeat(1_000);
    let began = Instant::now();
    let mut taken = 0;
    let error = loop {
        match patiently(upload.send(&chunk)).await {
            Ok(()) => taken += chunk.len(),
            Err(error) => break error,
        }
    };
    // What waits to be sent, and the pipe.
    assert!((64_000..68_000).contains(&taken), "{taken}");
    assert_eq!(told(&error), (ErrorKind::TimedOut, Execution::Unknown));
    assert_eq!(began.elapsed(), 10 * SECOND);
    let error = finish(upload).await.expect_err("it has failed");
    assert_eq!(told(&error), (ErrorKind::Broken, Execution::Unknown));
    is_closed(&mut connection, "an earlier exchange timed out").await;
}

#[tokio::test(start_paused = true)]
async fn reply_timeout_is_for_each_wait() {
    let options = ConnectOptions::new().reply_timeout(10 * SECOND);
    let (mut connection, mut peer) = memory::connection_with::<LengthPrefixed>(&options, 1 << 10);
    let mut upload = opened(&mut connection).await;
    let chunk = "x".repeat(70_000);
    send(&mut upload, &[&chunk]).await;
    for _ in 0..5 {
        send_waits(&mut upload, &chunk).await;
        advance(9 * SECOND).await;
        let sent = while_reading(&mut peer, upload.send(&chunk)).await;
        sent.expect("the server reads");
    }
    send_waits(&mut upload, "dropped").await;
    advance(9 * SECOND).await;
    // The rest, and then the reply that does not come.
    let began = Instant::now();
    let reply = while_reading(&mut peer, finish(upload)).await;
    let error = reply.expect_err("no reply");
    assert_eq!(told(&error), (ErrorKind::TimedOut, Execution::Unknown));
    assert_eq!(began.elapsed(), 10 * SECOND);
}

/// Waits for the client while the server reads.
async fn while_reading<T>(peer: &mut RawPeer, client: impl Future<Output = T>) -> T {
    let mut client = pin!(patiently(client));
    loop {
        tokio::select! {
            biased;
            output = &mut client => return output,
            read = peer.receive_some() => assert!(!read.is_empty(), "it is open"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn deadline_is_for_the_whole_upload() {
    let (mut connection, _peer) = memory::connection::<LengthPrefixed>(1 << 10);
    let upload = connection.deadline(3 * SECOND).upload::<Prefixed>("go");
    let mut upload = within(upload).await.expect("it is open");
    let late = (ErrorKind::TimedOut, Execution::Unknown);
    // There is room, so nobody waits.
    for _ in 0..2 {
        advance(SECOND).await;
        send(&mut upload, &["in time"]).await;
    }
    advance(SECOND).await;
    let error = patiently(upload.send("late")).await.expect_err("too late");
    assert_eq!(told(&error), late);
    // The chunks before it are not told to be all.
    let error = finish(upload).await.expect_err("a chunk is missing");
    assert_eq!(told(&error), (ErrorKind::Broken, Execution::Unknown));
    is_closed(&mut connection, "an upload was dropped before its end").await;

    let (mut connection, _peer) = memory::connection::<LengthPrefixed>(1 << 10);
    let upload = connection.deadline(3 * SECOND).upload::<Prefixed>("go");
    let upload = within(upload).await.expect("it is open");
    let began = Instant::now();
    assert_eq!(told(&finish(upload).await.expect_err("no reply")), late);
    assert_eq!(began.elapsed(), 3 * SECOND);
}

#[tokio::test]
async fn dropped_send_sends_nothing_of_its_chunk() {
    let (mut connection, peer) = memory::connection::<LengthPrefixed>(1 << 10);
    let mut upload = opened(&mut connection).await;
    let long = "x".repeat(70_000);
    send(&mut upload, &[&long]).await;
    send_waits(&mut upload, "dropped").await;
    let server = play(
        peer,
        [
            expects(uploaded("go", &[&long, "last"])),
            sends(frame("ok")),
        ],
    );
    send(&mut upload, &["last"]).await;
    assert_eq!(finish(upload).await.expect("a reply"), "ok");
    server.finished().await;
}

#[tokio::test]
async fn dropped_finish_leaves_the_connection_usable() {
    let (mut connection, peer) = memory::connection::<LengthPrefixed>(1 << 10);
    let upload = opened(&mut connection).await;
    {
        let mut finishing = pin!(upload.finish());
        poll_fn(|cx| {
            assert!(finishing.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
    }
    let server = play(
        peer,
        [
            expects([uploaded("go", &[]), frame("again")].concat()),
            sends([frame("late"), frame("yes")].concat()),
        ],
    );
    assert_eq!(
        call(&mut connection, "again").await.expect("a reply"),
        "yes"
    );
    server.finished().await;
}

#[tokio::test]
async fn dropped_upload_closes_the_connection_at_its_next_use() {
    let (mut connection, mut peer) = memory::connection::<LengthPrefixed>(1 << 10);
    let mut upload = opened(&mut connection).await;
    send(&mut upload, &["one"]).await;
    drop(upload);
    is_closed(&mut connection, "an upload was dropped before its end").await;
    let sent = uploaded("go", &["one"]);
    // Without the end of the chunks.
    assert_eq!(within(peer.rest()).await, sent[..sent.len() - 5]);
}

#[tokio::test]
async fn chunk_that_cannot_be_sent_is_left_out() {
    let options = ConnectOptions::new().max_frame_len(8);
    let (mut connection, peer) = memory::connection_with::<LengthPrefixed>(&options, 1 << 10);
    let server = play(
        peer,
        [expects(uploaded("go", &["one", "two"])), sends(frame("ok"))],
    );
    let mut upload = opened(&mut connection).await;
    send(&mut upload, &["one"]).await;
    let error = within(upload.send("too large")).await.expect_err("it is");
    assert_eq!(told(&error), (ErrorKind::Request, Execution::Unknown));
    send(&mut upload, &["two"]).await;
    assert_eq!(finish(upload).await.expect("a reply"), "ok");
    server.finished().await;

    let (mut connection, mut peer) = memory::connection::<Lines>(1 << 10);
    let mut upload = opened(&mut connection).await;
    let error = within(upload.send("two\nlines")).await.expect_err("it is");
    assert_eq!(error.kind(), ErrorKind::Request);
    send(&mut upload, &["."]).await;
    assert_eq!(within(peer.receive(5)).await, b"go\n.\n");
}

#[tokio::test]
async fn events_that_come_during_an_upload_are_kept() {
    let (mut connection, mut peer) = memory::connection::<LengthPrefixed>(1 << 10);
    let mut upload = opened(&mut connection).await;
    within(peer.send(events(&["*first"]))).await;
    send(&mut upload, &["one"]).await;
    within(peer.send([events(&["*second"]), frame("ok")].concat())).await;
    assert_eq!(finish(upload).await.expect("a reply"), "ok");
    for event in ["*first", "*second"] {
        let next = within(connection.next_event::<Prefixed>()).await;
        assert_eq!(next.expect("an event"), event);
    }
}

#[tokio::test]
async fn streamed_reply_to_an_upload_is_an_error_and_reaches_no_other_call() {
    for is_early in [false, true] {
        let (mut connection, mut peer) = memory::connection::<LengthPrefixed>(1 << 10);
        let mut upload = opened(&mut connection).await;
        within(peer.send(items(&["1"]))).await;
        if is_early {
            send(&mut upload, &["one"]).await;
            assert!(upload.is_answered());
        }
        within(peer.send([items(&["2"]), frame("end")].concat())).await;
        let error = finish(upload).await.expect_err("a stream");
        assert_eq!(told(&error), (ErrorKind::Reply, Execution::Unknown));
        let server = play(
            peer,
            [
                expects([uploaded("go", &[]), frame("again")].concat()),
                sends(frame("yes")),
            ],
        );
        assert_eq!(
            call(&mut connection, "again").await.expect("a reply"),
            "yes"
        );
        server.finished().await;
    }
}

#[tokio::test]
async fn message_that_was_there_before_an_upload_is_no_answer() {
    let (mut connection, mut peer) = memory::connection::<LengthPrefixed>(1 << 10);
    within(peer.send(frame("stray"))).await;
    let upload = within(connection.upload::<Prefixed>("go")).await;
    let error = upload.expect_err("an answer to nothing");
    assert_eq!(told(&error), (ErrorKind::Broken, Execution::NotSent));
}

#[tokio::test]
async fn reply_to_an_earlier_call_is_no_answer() {
    let (mut connection, mut peer) = memory::connection::<LengthPrefixed>(1 << 10);
    let mut calling = Box::pin(connection.call::<Prefixed>("dropped"));
    poll_fn(|cx| {
        assert!(calling.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    drop(calling);
    let mut upload = opened(&mut connection).await;
    within(peer.send(frame("late"))).await;
    send(&mut upload, &["one"]).await;
    assert!(!upload.is_answered());
    within(peer.send(frame("ok"))).await;
    assert_eq!(finish(upload).await.expect("a reply"), "ok");
}

/// Joins chunks, as many as the request says.
#[server_protocol(requests = &str)]
async fn join(request: &str, mut more: Requests<'_, Join>) -> Result<String, String> {
    let mut joined = request.to_owned();
    let most = request.parse().unwrap_or(usize::MAX);
    for _ in 0..most {
        let Some(chunk) = more.next().await? else {
            joined.push('.');
            break;
        };
        joined.push('|');
        joined.push_str(chunk);
    }
    Ok(joined)
}

/// The future may be that of a task.
fn is_send<F: Future + Send>(future: F) -> F {
    future
}

async fn chunks_reach_a_function_that_waits_for_them(over: Over) {
    let server = start_over(over, ConcurrentServer::new(Join)).await;
    let mut connection = server.peer().await.into_connection();
    for (request, chunks, joined) in [
        ("a", &["b", "", "c"][..], "a|b||c."),
        ("d", &[], "d."),
        ("2", &["e", "f"], "2|e|f"),
    ] {
        let upload = within(connection.upload::<Join>(request)).await;
        let mut upload = upload.expect("it is open");
        for chunk in chunks {
            let sent = within(is_send(upload.send(chunk))).await;
            sent.expect("it is open");
        }
        let reply = within(is_send(upload.finish())).await;
        assert_eq!(reply.expect("a reply"), joined);
    }
    drop(connection);
    assert_eq!(server.stopped().await.requests.served, 3);
}

/// Counts the bytes of its chunks.
#[server_protocol(requests = &[u8])]
async fn measure(_request: &str, mut more: Requests<'_, Measure>) -> Result<u64, String> {
    let mut sum = 0;
    while let Some(chunk) = more.next().await? {
        sum += chunk.len() as u64;
    }
    Ok(sum)
}

async fn ten_megabytes_arrive(over: Over) {
    let server = start_over(over, ConcurrentServer::new(Measure)).await;
    let mut connection = server.peer().await.into_connection();
    for length in [1_000, 100_000, 1_000_000] {
        let upload = within(connection.upload::<Measure>("")).await;
        let mut upload = upload.expect("it is open");
        let chunk = vec![7; length];
        for _ in 0..10_000_000 / length {
            within(upload.send(&chunk)).await.expect("it is open");
        }
        let sum = within(upload.finish()).await;
        assert_eq!(sum.expect("a reply"), 10_000_000);
    }
    drop(connection);
    assert_eq!(server.stopped().await.requests.served, 3);
}

async fn function_that_returns_early_is_sent_no_more(over: Over) {
    let server = start_over(over, ConcurrentServer::new(Join)).await;
    let mut connection = server.peer().await.into_connection();
    let upload = within(connection.upload::<Join>("1")).await;
    let mut upload = upload.expect("it is open");
    let mut count = 0;
    while !upload.is_answered() {
        within(upload.send("x")).await.expect("it is open");
        count += 1;
        yield_now().await;
    }
    assert!(count > 1);
    assert_eq!(within(upload.finish()).await.expect("a reply"), "1|x");
    // What the function did not take is skipped.
    let upload = within(connection.upload::<Join>("next")).await;
    let reply = within(upload.expect("it is open").finish()).await;
    assert_eq!(reply.expect("a reply"), "next.");
    drop(connection);
    assert_eq!(server.stopped().await.requests.served, 2);
}

async fn upload_that_is_dropped_is_cut_at_the_server(over: Over) {
    let server = start_over(over, ConcurrentServer::new(Join)).await;
    let mut connection = server.peer().await.into_connection();
    let upload = within(connection.upload::<Join>("a")).await;
    let mut upload = upload.expect("it is open");
    within(upload.send("b")).await.expect("it is open");
    drop(upload);
    drop(connection);
    // The function got an error instead of the end.
    let requests = server.stopped().await.requests;
    assert_eq!(requests.served, 0, "{requests:?}");
}

/// Takes no chunks.
#[server_protocol]
fn sync_deaf(request: &str) -> String {
    request.to_owned()
}

#[server_protocol]
async fn ready_deaf(request: &str) -> String {
    request.to_owned()
}

#[server_protocol]
async fn waiting_deaf(request: &str) -> String {
    yield_now().await;
    request.to_owned()
}

#[server_protocol(blocking)]
fn blocking_deaf(request: &str) -> String {
    request.to_owned()
}

/// What a client has of each.
enum Deaf {}

impl Contract for Deaf {
    type Framing = LengthPrefixed;
    type Format = Plain;
    type Request<'a> = &'a str;
    type Reply<'a> = String;
}

impl Receives for Deaf {
    type Format = Plain;
    type Chunk<'a> = &'a str;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn function_of_any_kind_that_takes_no_chunks_answers() {
    async fn answers<P: ServerProtocol>(protocol: P) {
        let (peer, serving) = serve_in_memory(ConcurrentServer::new(protocol), 1 << 10);
        let mut connection: Connection<LengthPrefixed> = peer.into_connection();
        for request in ["one", "two"] {
            let upload = within(connection.upload::<Deaf>(request)).await;
            let mut upload = upload.expect("it is open");
            for _ in 0..1_000 {
                within(upload.send("chunk")).await.expect("it is open");
            }
            let reply = within(upload.finish()).await.expect("a reply");
            assert_eq!(reply, request);
        }
        drop(connection);
        assert_eq!(within(serving).await.expect("no panic").requests.served, 2);
    }
    answers(SyncDeaf).await;
    answers(ReadyDeaf).await;
    answers(WaitingDeaf).await;
    answers(BlockingDeaf).await;
}

/// A part of SMTP: the lines of a mail end with a dot.
#[server_protocol(framing = CrlfLines, requests = &str)]
async fn mail(line: &str, mut more: Requests<'_, Mail>) -> Result<String, String> {
    let mut lines = 0;
    while more.next().await?.is_some_and(|line| line != ".") {
        lines += 1;
    }
    Ok(format!("250 {line} of {lines}"))
}

#[tokio::test]
async fn protocol_of_lines_ends_its_chunks_itself() {
    let (peer, serving) = serve_in_memory(ConcurrentServer::new(Mail), 1 << 10);
    let mut connection = peer.into_connection();
    for count in [0, 1, 1_000] {
        let upload = within(connection.upload::<Mail>("DATA")).await;
        let mut upload = upload.expect("it is open");
        for _ in 0..count {
            within(upload.send("a line")).await.expect("it is open");
        }
        within(upload.send(".")).await.expect("it is open");
        let reply = within(upload.finish()).await.expect("a reply");
        assert_eq!(reply, format!("250 DATA of {count}"));
    }
    drop(connection);
    assert_eq!(within(serving).await.expect("no panic").requests.served, 3);
}

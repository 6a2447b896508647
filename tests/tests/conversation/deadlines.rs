//! The deadline of a function.

use std::time::Duration;

use tcs::{
    ConcurrentServer, ConnectionInfo, Rejection,
    format::{Json, Plain},
    framing::LengthPrefixed,
    protocol::{Context, Replies, Requests, ServerProtocol},
    server::Concurrent,
    server_protocol,
};
use tcs_tests::{Heard, frame, patiently, serve_in_memory};
use tokio::{
    task::yield_now,
    time::{Instant, sleep},
};

const MINUTE: Duration = Duration::from_mins(1);

/// Returns the seconds that are left.
fn left(info: &ConnectionInfo) -> String {
    let left = info.deadline().map(|deadline| deadline - Instant::now());
    format!("{:?}", left.map(|left| left.as_secs_f32().round()))
}

/// Waits for this many seconds.
#[server_protocol]
async fn waits(seconds: u64, info: &ConnectionInfo) -> String {
    sleep(Duration::from_secs(seconds)).await;
    left(info)
}

#[server_protocol]
fn never_waits(_seconds: u64, info: &ConnectionInfo) -> String {
    left(info)
}

#[server_protocol(blocking)]
fn blocks(_seconds: u64, info: &ConnectionInfo) -> String {
    left(info)
}

struct ByHand;

impl ServerProtocol for ByHand {
    type Framing = LengthPrefixed;
    type Format = Plain;
    type Session = ();
    type Request<'a> = u64;
    type Reply<'a> = String;

    fn open_session(&self, _info: &ConnectionInfo) {}

    async fn process_request(
        &self,
        context: Context<'_, ()>,
        seconds: u64,
    ) -> Result<String, Rejection> {
        yield_now().await;
        sleep(Duration::from_secs(seconds)).await;
        Ok(left(context.info))
    }
}

/// Asks for the deadline after 20 seconds.
async fn asked<P: ServerProtocol>(server: ConcurrentServer<P>) -> String {
    let (mut peer, serving) = serve_in_memory::<P, Concurrent>(server, 1 << 10);
    patiently(peer.send(frame("20"))).await;
    let Heard::Message(said) = patiently(peer.hear()).await else {
        panic!("it is no reply");
    };
    drop(peer);
    assert_eq!(
        patiently(serving).await.expect("no panic").requests.served,
        1
    );
    String::from_utf8(said).expect("it is text")
}

#[tokio::test(start_paused = true)]
async fn function_knows_when_it_is_dropped() {
    let limited = asked(ConcurrentServer::new(Waits).request_timeout(MINUTE));
    assert_eq!(limited.await, "Some(40.0)");
    assert_eq!(asked(ConcurrentServer::new(Waits)).await, "None");
    let limited = asked(ConcurrentServer::new(ByHand).request_timeout(MINUTE));
    assert_eq!(limited.await, "Some(40.0)");
    let limited = asked(ConcurrentServer::new(Blocks).request_timeout(MINUTE));
    assert_eq!(limited.await, "Some(60.0)");
    let limited = asked(ConcurrentServer::new(NeverWaits).request_timeout(MINUTE));
    assert_eq!(limited.await, "None");
}

#[server_protocol(format = Json)]
mod operations {
    use super::{ConnectionInfo, Duration, left, sleep};

    pub async fn waits(seconds: u64, #[context] info: &ConnectionInfo) -> String {
        sleep(Duration::from_secs(seconds)).await;
        left(info)
    }
}

#[tokio::test(start_paused = true)]
async fn operation_of_a_module_knows_when_it_is_dropped() {
    let server = ConcurrentServer::new(operations::Protocol).request_timeout(MINUTE);
    let (mut peer, serving) = serve_in_memory(server, 1 << 10);
    patiently(peer.send(frame("{\"waits\":{\"seconds\":20}}"))).await;
    let reply = Heard::message("{\"waits\":\"Some(40.0)\"}");
    assert_eq!(patiently(peer.hear()).await, reply);
    drop(peer);
    assert_eq!(
        patiently(serving).await.expect("no panic").requests.served,
        1
    );
}

/// Tells the deadline once a chunk has come, and again after each wait.
#[server_protocol(requests = &[u8], replies = &str)]
async fn streams(
    seconds: u64,
    info: &ConnectionInfo,
    mut more: Requests<'_, Streams>,
    mut out: Replies<'_, Streams>,
) -> Result<String, String> {
    let wait = Duration::from_secs(seconds);
    sleep(wait).await;
    more.next().await?;
    sleep(wait).await;
    out.send(&left(info)).await?;
    // The loop takes it.
    yield_now().await;
    for _ in 0..3 {
        sleep(wait).await;
        out.send(&left(info)).await?;
        yield_now().await;
    }
    Ok(left(info))
}

/// Tells the deadline with each item.
#[server_protocol(replies = &str, concurrent = 4)]
async fn beside(
    seconds: u64,
    info: &ConnectionInfo,
    mut out: Replies<'_, Beside>,
) -> Result<String, String> {
    for _ in 0..3 {
        sleep(Duration::from_secs(seconds)).await;
        out.send(&left(info)).await?;
        yield_now().await;
    }
    Ok(left(info))
}

#[tokio::test(start_paused = true)]
async fn deadline_moves_with_each_item_beside_other_requests() {
    let server = ConcurrentServer::new(Beside).request_timeout(MINUTE);
    let (mut peer, _serving) = serve_in_memory(server, 1 << 10);
    patiently(peer.send(frame("40"))).await;
    for expected in ["Some(20.0)"; 3] {
        // The announcement.
        assert!(matches!(
            patiently(peer.hear()).await,
            Heard::Control(0x81, _)
        ));
        assert_eq!(patiently(peer.hear()).await, Heard::message(expected));
    }
    assert_eq!(patiently(peer.hear()).await, Heard::message("Some(60.0)"));
}

#[tokio::test(start_paused = true)]
async fn deadline_moves_with_each_message() {
    let server = ConcurrentServer::new(Streams).request_timeout(MINUTE);
    let (mut peer, serving) = serve_in_memory(server, 1 << 10);
    patiently(peer.send(frame("40"))).await;
    sleep(Duration::from_secs(50)).await;
    let chunk = [&[0x80, 0, 0, 5, 0x83, 0, 0, 0, 1][..], &frame("x")].concat();
    patiently(peer.send(chunk)).await;
    for expected in ["Some(20.0)"; 4] {
        // The announcement.
        assert!(matches!(
            patiently(peer.hear()).await,
            Heard::Control(0x81, _)
        ));
        assert_eq!(patiently(peer.hear()).await, Heard::message(expected));
    }
    assert_eq!(patiently(peer.hear()).await, Heard::message("Some(60.0)"));
    drop(peer);
    assert_eq!(
        patiently(serving).await.expect("no panic").requests.served,
        1
    );
}

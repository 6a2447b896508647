//! Requests that have waited too long, or are too many, are answered *busy*.

use std::time::Duration;

use tcs::{
    ConcurrentServer,
    framing::{LengthPrefixed, Lines},
    protocol::{Requests, ServerProtocol},
    server_protocol,
};
use tcs_tests::{
    Gate, Heard, Kind, Over, Tester, code, control, each_kind, each_work, frame, gate, patiently,
    serve_in_memory, start_over, tester_of, threads::apart, within, work::Calls,
};
use tokio::time::sleep;

each_work!(
    request_that_waits_for_an_earlier_one_for_too_long_is_busy:
        is_busy_if(Duration::from_millis(200), true),
    request_that_waits_for_an_earlier_one_for_a_shorter_time_is_served:
        is_busy_if(Duration::from_secs(20), false),
);
each_kind!(
    [ready_async, waiting] paused:
    wait_counts_from_the_read,
);
each_kind!(
    over_each:
    request_beyond_the_pipeline_is_busy,
    peer_that_waits_for_replies_is_never_busy,
);
each_kind!(
    framing_that_cannot_say_busy_closes,
    requests_wait_without_limits,
);

/// What a request is told beyond two that wait.
const TWO_WAIT: &str = "2 requests of this connection wait (`max_pipelined_requests`)";

fn server<K: Kind>(gate: &Gate) -> ConcurrentServer<Tester<LengthPrefixed, (), K>> {
    ConcurrentServer::new(tester_of(gate))
}

/// Sends requests of which the first takes 300 ms.
fn is_busy_if(protocol: impl ServerProtocol, calls: Calls, limit: Duration, is_busy: bool) {
    use std::io::{Read as _, Write as _};

    let server = apart(ConcurrentServer::new(protocol).max_queue_time(limit));
    let mut peer = server.peer();
    let text = format!("the request has waited longer than {limit:?} (`max_queue_time`)");
    let second = if is_busy {
        control(code::BUSY, &text)
    } else {
        calls.reply()
    };
    let first = [calls.reply(), second.clone(), second].concat();
    // The connection goes on, and the next request waits for nothing.
    for (costs, replies) in [(&[300_000, 0, 0][..], first), (&[0], calls.reply())] {
        peer.write_all(&calls.requests(costs)).expect("it is open");
        let mut heard = vec![0; replies.len()];
        peer.read_exact(&mut heard).expect("replies");
        assert_eq!(heard, replies, "{}", String::from_utf8_lossy(&heard));
    }
    drop(peer);
    server.stop();
    let requests = server.finished().requests;
    let rejected = if is_busy { 2 } else { 0 };
    assert_eq!(
        (requests.served, requests.rejected),
        (4 - rejected, rejected)
    );
}

async fn wait_counts_from_the_read<K: Kind>() {
    let limit = Duration::from_secs(2);
    for (waits, kind) in [(limit, 0), (limit + Duration::from_millis(2), code::BUSY)] {
        for is_read_ahead in [false, true] {
            let gate = gate();
            let (mut peer, serving) =
                serve_in_memory(server::<K>(&gate).max_queue_time(limit), 1 << 16);
            // The time before the read does not count.
            sleep(10 * limit).await;
            let mut requests = frame("wait a");
            // What is read ahead moves to the read buffer in several parts.
            let following = if is_read_ahead { 40 } else { 1 };
            if is_read_ahead {
                patiently(peer.send(&requests)).await;
                patiently(gate.reached()).await;
                sleep(10 * limit).await;
                requests.clear();
            }
            for _ in 0..following {
                requests.extend(frame("b".repeat(1_000)));
            }
            patiently(peer.send(requests)).await;
            if !is_read_ahead {
                patiently(gate.reached()).await;
            }
            sleep(waits).await;
            gate.open();
            assert_eq!(patiently(peer.hear()).await, Heard::message("a"));
            for number in 0..following {
                let heard = patiently(peer.hear()).await.kind();
                assert_eq!(heard, kind, "{waits:?}, {number} of {following}");
            }
            drop(peer);
            patiently(serving).await.expect("no panic");
        }
    }
}

/// Counts chunks.
#[server_protocol(requests = &[u8])]
async fn upload(_name: &str, mut more: Requests<'_, Upload>) -> Result<String, String> {
    let mut count = 0;
    while more.next().await?.is_some() {
        count += 1;
    }
    Ok(count.to_string())
}

#[tokio::test(start_paused = true)]
async fn request_that_arrives_with_the_end_of_long_chunks_has_not_waited() {
    let limit = Duration::from_secs(2);
    let server = ConcurrentServer::new(Upload).max_queue_time(limit);
    let (mut peer, serving) = serve_in_memory(server, 1 << 16);
    patiently(peer.send(frame("a"))).await;
    let chunk = [&b"\x80\0\0\x05\x83\0\0\0\x01"[..], &frame("chunk")].concat();
    for _ in 0..3 {
        patiently(peer.send(&chunk)).await;
        sleep(limit).await;
    }
    let end = control(0x84, "");
    let rest = [&chunk[..], &end, &frame("b"), &end].concat();
    patiently(peer.send(rest)).await;
    for reply in ["4", "0"] {
        assert_eq!(patiently(peer.hear()).await, Heard::message(reply));
    }
    drop(peer);
    patiently(serving).await.expect("no panic");
}

async fn request_beyond_the_pipeline_is_busy<K: Kind>(over: Over) {
    let server = start_over(over, server::<K>(&gate()).max_pipelined_requests(2)).await;
    let mut peer = server.peer().await;
    let requests: Vec<_> = ["a", "b", "c", "d"].into_iter().flat_map(frame).collect();
    within(peer.send(&requests)).await;
    let busy = Heard::Control(code::BUSY, TWO_WAIT.to_owned());
    for heard in [Heard::message("a"), Heard::message("b"), busy.clone(), busy] {
        assert_eq!(within(peer.hear()).await, heard);
    }
    assert_eq!(within(peer.ask("e")).await, Heard::message("e"));
    drop(peer);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.rejected), (3, 2));
}

async fn peer_that_waits_for_replies_is_never_busy<K: Kind>(over: Over) {
    let server = start_over(over, server::<K>(&gate()).max_pipelined_requests(2)).await;
    let mut peer = server.peer().await;
    within(peer.send(frame("0"))).await;
    for number in 0..200 {
        within(peer.send(frame((number + 1).to_string()))).await;
        let reply = Heard::message(&number.to_string());
        assert_eq!(within(peer.hear()).await, reply);
    }
    drop(peer);
    assert_eq!(server.stopped().await.requests.rejected, 0);
}

async fn framing_that_cannot_say_busy_closes<K: Kind>() {
    let server = ConcurrentServer::new(tester_of::<K, Lines>(&gate()));
    let (mut peer, serving) = serve_in_memory(server.max_pipelined_requests(1), 1 << 16);
    within(peer.send("a\nb\nc\n")).await;
    assert_eq!(within(peer.rest()).await, b"a\n");
    drop(peer);
    assert_eq!(
        within(serving).await.expect("no panic").requests.rejected,
        1
    );
}

async fn requests_wait_without_limits<K: Kind>() {
    let (mut peer, serving) = serve_in_memory(server::<K>(&gate()), 1 << 16);
    let requests: Vec<_> = (0..1_000_u32)
        .flat_map(|number| frame(number.to_string()))
        .collect();
    within(peer.send(requests)).await;
    for number in 0..1_000 {
        assert_eq!(
            within(peer.hear()).await,
            Heard::message(&number.to_string())
        );
    }
    drop(peer);
    assert_eq!(
        within(serving).await.expect("no panic").requests.served,
        1_000
    );
}

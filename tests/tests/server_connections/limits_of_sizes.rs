//! Every size has a limit.

use tcs::{
    ConcurrentServer,
    framing::{LengthPrefixed, Lines, Raw},
    server::Report,
};
use tcs_tests::{
    Heard, Kind, Tester, code, control, each_kind, frame, gate, serve_in_memory as serve,
    tester_of, within,
};
use tokio::task::JoinHandle;

each_kind!(
    request_beyond_the_limit_is_rejected_in_its_place,
    reply_beyond_the_limit_is_a_failure_in_its_place,
    replies_have_a_limit_of_their_own,
    request_beyond_the_limit_ends_a_connection_without_control_frames,
    notices_are_skipped,
);

fn server<K: Kind>() -> ConcurrentServer<Tester<LengthPrefixed, (), K>> {
    ConcurrentServer::new(tester_of(&gate()))
}

async fn ended(serving: JoinHandle<Report>) -> Report {
    within(serving).await.expect("no panic")
}

async fn request_beyond_the_limit_is_rejected_in_its_place<K: Kind>() {
    let (mut peer, serving) = serve(server::<K>().max_frame_len(100), 1 << 16);
    for (length, fits) in [(99, true), (100, true), (101, false), (400, false)] {
        let request = "y".repeat(length);
        let expected = if fits {
            Heard::message(&request)
        } else {
            let text = format!("a message of {length} bytes exceeds `max_frame_len` of 100 bytes");
            Heard::Control(code::TOO_LARGE, text)
        };
        let requests = [frame(request.as_bytes()), frame(b"behind")].concat();
        within(peer.send(requests)).await;
        assert_eq!(within(peer.hear()).await, expected, "{length}");
        assert_eq!(
            within(peer.hear()).await,
            Heard::message("behind"),
            "{length}"
        );
    }
    within(peer.send(401_u32.to_be_bytes())).await;
    assert_eq!(
        within(peer.hear()).await,
        Heard::Control(
            code::PROTOCOL_ERROR,
            "a message of 401 bytes exceeds `max_frame_len` of 100 bytes".to_owned()
        )
    );
    assert_eq!(within(peer.hear()).await, Heard::End);
    drop(peer);
    let requests = ended(serving).await.requests;
    assert_eq!((requests.served, requests.rejected), (6, 3));
}

async fn reply_beyond_the_limit_is_a_failure_in_its_place<K: Kind>() {
    let (mut peer, serving) = serve(server::<K>().max_frame_len(100), 1 << 16);
    for (request, fits) in [("size 99", true), ("size 100", true), ("size 101", false)] {
        let heard = within(peer.ask(request)).await;
        if fits {
            assert!(matches!(heard, Heard::Message(_)), "{heard:?}");
        } else {
            assert_eq!(
                heard,
                Heard::Control(
                    code::FAILED,
                    "the reply cannot be sent: a message of 101 bytes exceeds `max_reply_len` of \
                     100 bytes"
                        .to_owned()
                )
            );
        }
    }
    assert_eq!(within(peer.ask("behind")).await, Heard::message("behind"));
    drop(peer);
    let requests = ended(serving).await.requests;
    assert_eq!((requests.served, requests.failed), (3, 1));
}

async fn replies_have_a_limit_of_their_own<K: Kind>() {
    for server in [
        server::<K>().max_frame_len(10).max_reply_len(100),
        server::<K>().max_reply_len(100).max_frame_len(10),
    ] {
        let (mut peer, serving) = serve(server, 1 << 16);
        let heard = within(peer.ask("size 100")).await;
        assert!(matches!(heard, Heard::Message(_)), "{heard:?}");
        for (request, kind, exceeded) in [
            (
                "size 101",
                code::FAILED,
                "101 bytes exceeds `max_reply_len` of 100 bytes",
            ),
            (
                "12345678901",
                code::TOO_LARGE,
                "11 bytes exceeds `max_frame_len` of 10 bytes",
            ),
        ] {
            match within(peer.ask(request)).await {
                Heard::Control(code, text) if code == kind => {
                    assert!(text.ends_with(exceeded), "{text}");
                }
                other => panic!("{other:?}"),
            }
        }
        drop(peer);
        let requests = ended(serving).await.requests;
        assert_eq!(
            (requests.served, requests.failed, requests.rejected),
            (1, 1, 1)
        );
    }
}

async fn request_beyond_the_limit_ends_a_connection_without_control_frames<K: Kind>() {
    let server = ConcurrentServer::new(tester_of::<K, Lines>(&gate())).max_frame_len(10);
    let (mut peer, serving) = serve(server, 1 << 16);
    within(peer.send("0123456789\n0123456789a\nbehind\n")).await;
    assert_eq!(within(peer.rest()).await, b"0123456789\n");
    drop(peer);
    let requests = ended(serving).await.requests;
    assert_eq!((requests.served, requests.rejected), (1, 1));

    let server = ConcurrentServer::new(tester_of::<K, Raw>(&gate())).max_frame_len(10);
    let (mut peer, serving) = serve(server, 1 << 16);
    within(peer.send("0123456789a")).await;
    assert_eq!(within(peer.rest()).await, b"");
    drop(peer);
    assert_eq!(ended(serving).await.requests.rejected, 1);
}

async fn notices_are_skipped<K: Kind>() {
    let (mut peer, serving) = serve(server::<K>(), 1 << 16);
    let stream = [
        control(0x80, "hello"),
        frame(b"one"),
        control(0xff, ""),
        frame(b"two"),
    ];
    within(peer.send(stream.concat())).await;
    assert_eq!(within(peer.hear()).await, Heard::message("one"));
    assert_eq!(within(peer.hear()).await, Heard::message("two"));
    drop(peer);
    assert_eq!(ended(serving).await.requests.received, 2);
}

//! Streamed replies of one connection that always have more to send.

use tcs::{
    ConcurrentServer,
    framing::Multiplexed,
    protocol::{Push, PushGroup, Replies},
    server_protocol,
};
use tcs_tests::{
    ids::{
        kind::{EVENTS, ITEMS},
        message_of, receive_frame,
    },
    serve_in_memory, within,
};

/// Less than the credit that a stream begins with.
const ITEMS_OF_EACH: usize = 250;

#[server_protocol(framing = Multiplexed, replies = &str, push = &str)]
async fn feed(
    name: &str,
    #[state] room: &std::sync::Arc<PushGroup<Feed>>,
    push: Push<Feed>,
    mut out: Replies<'_, Feed>,
) -> Result<String, String> {
    room.join(&push);
    for _ in 0..ITEMS_OF_EACH {
        out.send(&"i".repeat(1_016)).await?;
    }
    Ok(name.to_owned())
}

#[tokio::test]
async fn streams_take_turns_and_an_event_comes_between_them() {
    let room = std::sync::Arc::new(PushGroup::new());
    let server = ConcurrentServer::new(Feed::new(std::sync::Arc::clone(&room)));
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

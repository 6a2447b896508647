//! Messages that the framing cannot carry, between others.

use tcs::{
    ConcurrentServer,
    framing::{FrameError, Framing, Input, Lines, ParsedFrame},
    protocol::{Push, Replies},
    server_protocol,
};
use tcs_tests::{serve_in_memory, within};

/// Lines, each of which is written with its number. So a line that is written twice is seen.
#[derive(Default)]
struct Numbered {
    lines: Lines,
    written: u8,
}

impl Framing for Numbered {
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        self.lines.parse(input)
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        out.push(b'0' + self.written);
    }

    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        self.lines.finish(out, start)?;
        self.written += 1;
        Ok(())
    }
}

/// Sends items, one of which is two lines, and waits before it returns.
#[server_protocol(framing = Numbered, replies = &str, reject_with = said)]
async fn items(line: &str, mut out: Replies<'_, Items>) -> Result<&'static str, String> {
    out.send_all(["a", "b", "two\nlines", "c"]).await?;
    if line == "wait" {
        std::future::pending::<()>().await;
    }
    Ok("end")
}

fn said(rejection: &tcs::Rejection) -> String {
    rejection.text().to_owned()
}

#[tokio::test]
async fn items_before_one_that_cannot_be_sent_are_framed_once() {
    let why = "the item of the reply cannot be sent: the message contains a line feed, which would end it early";
    for line in ["return\n", "wait\n"] {
        let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Items), 1 << 10);
        within(peer.send(line)).await;
        within(peer.finish()).await;
        let heard = within(peer.rest()).await;
        let expected = format!("0a\n1b\n2{why}\n");
        assert_eq!(String::from_utf8_lossy(&heard), expected, "{line}");
        assert_eq!(within(serving).await.expect("no panic").requests.failed, 1);
    }
}

/// Pushes events, two of which are two lines.
#[server_protocol(framing = Numbered, push = &str)]
fn events(_line: &str, push: Push<Events>) -> Result<&'static str, String> {
    for event in ["a", "b", "two\nlines", "c", "also\ntwo", "d"] {
        push.try_send(event)?;
    }
    Ok("end")
}

#[tokio::test]
async fn events_before_one_that_cannot_be_sent_are_framed_once() {
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Events), 1 << 10);
    let expected = "0end\n1a\n2b\n3c\n4d\n";
    within(peer.send("go\n")).await;
    let said = within(peer.receive(expected.len())).await;
    assert_eq!(String::from_utf8_lossy(&said), expected);
    drop(peer);
    let events = within(serving).await.expect("no panic").events;
    assert_eq!((events.sent, events.dropped), (4, 2));
}

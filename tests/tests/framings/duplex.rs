//! What only one direction of a connection has.

use tcs::{
    ConcurrentServer, Connection,
    format::Plain,
    framing::{Duplex, Framing, LengthPrefixed, Lines, Verbatim},
    protocol::{Contract, Requests},
    server_protocol,
};
use tcs_tests::{
    RawPeer,
    client::uploaded,
    control, frame,
    script::{expects, play, sends},
    serve_in_memory, within,
};

/// Texts both ways.
struct Texts<F>(std::marker::PhantomData<F>);

impl<F: Framing> Contract for Texts<F> {
    type Framing = F;
    type Format = Plain;
    type Request<'a> = &'a str;
    type Reply<'a> = &'a str;
}

/// Returns the reply that a client reads.
async fn reply<F: Framing>(request: &[u8], reply: &[u8]) -> String {
    let (near, far) = tokio::io::duplex(1 << 10);
    let server = play(RawPeer::over(far), [expects(request), sends(reply)]);
    let mut connection = Connection::<F>::over(near);
    let reply = within(connection.call::<Texts<F>>("go")).await;
    let reply = reply.expect("the reply is one").to_owned();
    server.finished().await;
    reply
}

/// A text is no length, and a length is no text.
#[tokio::test]
async fn client_judges_replies_by_the_framing_of_replies() {
    let text = reply::<Duplex<LengthPrefixed, Lines>>(&frame("go"), b"text\n").await;
    assert_eq!(text, "text");
    let framed = reply::<Duplex<Lines, LengthPrefixed>>(b"go\n", &frame("framed")).await;
    assert_eq!(framed, "framed");
}

#[server_protocol(framing = Duplex<LengthPrefixed, Lines>, requests = &str)]
async fn join(request: &str, mut more: Requests<'_, Join>) -> Result<String, String> {
    let mut joined = request.to_owned();
    while let Some(chunk) = more.next().await? {
        joined.push_str(chunk);
    }
    Ok(joined)
}

/// Lines have no notice of chunks, and requests are no lines.
#[tokio::test]
async fn chunks_end_as_the_framing_of_requests_says() {
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Join), 1 << 10);
    let announced = [0x80, 0, 0, 5, 0x83, 0, 0, 0, 1];
    let requests = [
        &frame("a")[..],
        &announced,
        &frame("b"),
        // The next request, although the end of the chunks is not told.
        &frame("c"),
        &uploaded("d", &["e", "f"]),
        &control(0x80, ""),
        &frame("g"),
    ];
    peer.send(requests.concat()).await;
    peer.finish().await;
    assert_eq!(within(peer.rest()).await, b"ab\nc\ndef\ng\n");
    drop(peer);
    assert_eq!(within(serving).await.expect("no panic").requests.served, 4);
}

#[server_protocol(framing = Verbatim)]
fn echo(bytes: &[u8]) -> &[u8] {
    bytes
}

/// Nothing waits for the bytes that decide whether it is HTTP, and nothing is answered but what the function says.
#[tokio::test]
async fn verbatim_takes_what_looks_like_another_protocol() {
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Echo), 1 << 10);
    for bytes in [
        &b"GET /"[..],
        b" HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01",
        b"\r\n",
    ] {
        let echoed = within(peer.send_and_receive(bytes, bytes.len())).await;
        assert_eq!(echoed, bytes);
    }
    drop(peer);
    assert_eq!(within(serving).await.expect("no panic").requests.served, 4);
}

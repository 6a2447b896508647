//! Peers that speak another protocol are recognised on every framing, told in their own terms, and
//! execute nothing, however their bytes arrive.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use proptest::prelude::*;
use tcs::{
    __private::FirstFrame,
    ConcurrentServer, Connection, ErrorKind,
    format::Plain,
    framing::{
        CrlfLines, Delimited, Detection, Fixed, FrameError, Framing, INCLUDES_HEADER,
        LITTLE_ENDIAN, LengthPrefixed, Lines, Netstrings, ParsedFrame, Prefixed, Raw, ReadState,
        Side, Unparsed, UntilEof, delimiter,
    },
    server::Requests,
};
use tcs_tests::{
    Over, adds_up, control,
    cutting::{Found, every_split_gives, pieces, read},
    gate,
    raw_server::RawServer,
    start, tester, within,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream},
};

type Semicolons = Delimited<{ delimiter(b";") }>;
type DotLines = Delimited<{ delimiter(b"\r\n.\r\n") }>;

/// A framing of one's own: messages of three bytes.
#[derive(Default)]
struct Threes;

/// A framing of one's own that must not be asked for the same frame twice: messages of 5, 6, 7, …
/// bytes.
#[derive(Default)]
struct Growing(usize);

/// A framing of one's own with one exchange, as finger has it: a line.
#[derive(Default)]
struct OneLine(Lines);

/// A framing of one's own whose messages may be HTTP: up to `\n`.
#[derive(Default)]
struct OptedOut;

impl Framing for Threes {
    fn parse(&mut self, input: Unparsed<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        sized(input, 3)
    }
}

impl Framing for Growing {
    fn parse(&mut self, input: Unparsed<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        let parsed = sized(input, 5 + self.0)?;
        self.0 += usize::from(parsed.is_some());
        Ok(parsed)
    }
}

impl Framing for OneLine {
    const PERSISTENT: bool = false;

    fn parse(&mut self, input: Unparsed<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        self.0.parse(input)
    }
}

impl Framing for OptedOut {
    const DETECTION: Detection = Detection::OFF;

    fn parse(&mut self, input: Unparsed<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        match input.bytes().iter().position(|byte| *byte == b'\n') {
            Some(end) => Ok(Some(ParsedFrame::message(0..end, end + 1))),
            None => input.incomplete(),
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>, _start: usize) -> Result<(), FrameError> {
        out.push(b'\n');
        Ok(())
    }
}

fn sized(input: Unparsed<'_>, size: usize) -> Result<Option<ParsedFrame>, FrameError> {
    if input.bytes().len() < size {
        return input.incomplete();
    }
    Ok(Some(ParsedFrame::message(0..size, size)))
}

/// What a client of another protocol says first, what it is called, and what it is told.
struct Stranger {
    says: &'static [u8],
    name: &'static str,
    is_told: &'static [u8],
}

const BAD_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\
    Content-Length: 31\r\nConnection: close\r\n\r\nThis port does not speak HTTP.\n";

const STRANGERS: [Stranger; 10] = [
    Stranger {
        says: b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        name: "HTTP",
        is_told: BAD_REQUEST,
    },
    Stranger {
        says: b"POST /a?b=c HTTP/1.1\r\nHost: localhost\r\n\r\npanic\r\n;panic\r\n.\r\n",
        name: "HTTP",
        is_told: BAD_REQUEST,
    },
    Stranger {
        says: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        name: "HTTP",
        is_told: BAD_REQUEST,
    },
    Stranger {
        says: b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03panic;panic\n",
        name: "TLS",
        is_told: b"\x15\x03\x03\0\x02\x02\x0a",
    },
    Stranger {
        says: b"SSH-2.0-OpenSSH_9.6\r\n",
        name: "SSH",
        is_told: b"This port does not speak SSH.\r\n",
    },
    Stranger {
        says: b"*1\r\n$4\r\nPING\r\n",
        name: "Redis",
        is_told: b"-ERR this port does not speak the protocol of Redis\r\n",
    },
    Stranger {
        says: b"*12\r\n$7\r\nCOMMAND\r\n",
        name: "Redis",
        is_told: b"-ERR this port does not speak the protocol of Redis\r\n",
    },
    Stranger {
        says: b"PROXY TCP4 10.0.0.1 10.0.0.2 50000 80\r\npanic\r\n",
        name: "a PROXY header",
        is_told: b"",
    },
    Stranger {
        says: b"PROXY UNKNOWN\r\npanic\r\n",
        name: "a PROXY header",
        is_told: b"",
    },
    Stranger {
        says: b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0panic;panic\n",
        name: "a PROXY header",
        is_told: b"",
    },
];

/// Serves each of them over TCP.
async fn are_told<F: Framing>() {
    let server = start(ConcurrentServer::new(tester::<F>(&gate()))).await;
    for Stranger {
        says,
        name,
        is_told,
    } in STRANGERS
    {
        let mut peer = server.peer().await;
        within(peer.send(says)).await;
        let mut expected = is_told.to_vec();
        if is_told.is_empty() && std::any::type_name::<F>().ends_with("LengthPrefixed") {
            expected = control(0x43, &format!("that looks like {name}"));
        }
        let told = within(peer.rest()).await;
        assert_eq!(
            told,
            expected,
            "{name}: {:?}",
            String::from_utf8_lossy(&told)
        );
    }
    let requests = server.stopped().await.requests;
    let count = STRANGERS.len() as u64;
    assert_eq!((requests.received, requests.rejected), (count, count));
}

/// Reads what each of them says, cut in two and in pieces of few bytes: no part of it is ever taken for a
/// message.
fn are_recognised_in_pieces<F: Framing>() {
    for Stranger { says, name, .. } in STRANGERS {
        let expected = format!("that looks like {name}");
        let cuts = (0..=says.len()).map(|at| pieces(says, vec![at]));
        let equal = (1..8).map(|size| says.chunks(size).collect());
        for pieces in cuts.chain(equal) {
            // With the second limit, some lengths of two bytes are too large, but can be skipped.
            for limit in [1 << 20, 8_000] {
                let (found, error) = read::<F>(Side::Server, &pieces, limit);
                assert!(found.is_empty(), "{name}: {found:?} in {pieces:?}");
                let error = error.expect("it is rejected").to_string();
                assert_eq!(error, expected, "{pieces:?}");
            }
        }
    }
}

/// A stream that is read in pieces of so many bytes, whatever has arrived.
struct InPieces<S>(usize, S);

impl<S: AsyncRead + Unpin> AsyncRead for InPieces<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self(size, stream) = &mut *self;
        let mut piece = vec![0; usize::min(*size, buf.remaining())];
        let mut piece = ReadBuf::new(&mut piece);
        let read = Pin::new(stream).poll_read(cx, &mut piece);
        buf.put_slice(piece.filled());
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for InPieces<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.1).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.1).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.1).poll_shutdown(cx)
    }
}

/// Sends `says` to a server that reads it in pieces; returns what the server says, and what it counts.
async fn serve_in_pieces<F: Framing>(over: Over, size: usize, says: &[u8]) -> (Vec<u8>, Requests) {
    match over {
        Over::Tcp => {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let addr = listener.local_addr().expect("it is bound");
            let near = within(TcpStream::connect(addr)).await.expect("it listens");
            let (far, _) = within(listener.accept()).await.expect("it is there");
            talk::<F, _>(near, InPieces(size, far), says).await
        }
        Over::Memory => {
            let (near, far) = tokio::io::duplex(1 << 16);
            talk::<F, _>(near, InPieces(size, far), says).await
        }
    }
}

async fn talk<F: Framing, S>(near: S, far: InPieces<S>, says: &[u8]) -> (Vec<u8>, Requests)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let server = ConcurrentServer::new(tester::<F>(&gate()));
    let serving = tokio::spawn(server.serve_stream(far));
    let (mut from, mut to) = tokio::io::split(near);
    // It may be told before it has said everything.
    let speak = async { to.write_all(says).await.and(to.shutdown().await).ok() };
    let mut heard = Vec::new();
    let hear = from.read_to_end(&mut heard);
    let (_, heard_all) = within(async { tokio::join!(speak, hear) }).await;
    heard_all.expect("no reset");
    let report = within(serving)
        .await
        .expect("no panic")
        .expect("good settings");
    adds_up(&report);
    (heard, report.requests)
}

/// Serves each of them in pieces, over TCP and in memory.
async fn execute_nothing_in_pieces<F: Framing>() {
    for over in [Over::Tcp, Over::Memory] {
        for Stranger { says, name, .. } in STRANGERS {
            for size in [1, 2, 3, 5, 16] {
                let (_, requests) = serve_in_pieces::<F>(over, size, says).await;
                let counts = (requests.received, requests.rejected, requests.served);
                assert_eq!(counts, (1, 1, 0), "{name} in pieces of {size}");
            }
        }
    }
}

macro_rules! on {
    ($($name:ident: $framing:ty $(, $pieces:ident, $execute:ident)?;)*) => { $(
        mod $name {
            use super::*;

            #[tokio::test]
            async fn strangers_are_told_in_their_own_terms() {
                are_told::<$framing>().await;
            }

            $(
                #[test]
                fn strangers_are_recognised_in_pieces() {
                    $pieces::<$framing>();
                }

                #[tokio::test]
                async fn strangers_execute_nothing_in_pieces() {
                    $execute::<$framing>().await;
                }

                proptest! {
                    #[test]
                    fn pieces_make_no_difference(stream in first_bytes(), cuts in cuts()) {
                        let cuts: Vec<_> = cuts.iter().map(|at| at.index(stream.len() + 1)).collect();
                        depends_on_bytes_alone::<$framing>(&stream, &cuts)?;
                    }
                }
            )?
        }
    )* };
}

on! {
    length_prefixed: LengthPrefixed, are_recognised_in_pieces, execute_nothing_in_pieces;
    lines: Lines, are_recognised_in_pieces, execute_nothing_in_pieces;
    crlf_lines: CrlfLines, are_recognised_in_pieces, execute_nothing_in_pieces;
    semicolons: Semicolons, are_recognised_in_pieces, execute_nothing_in_pieces;
    dot_lines: DotLines, are_recognised_in_pieces, execute_nothing_in_pieces;
    fixed_5: Fixed<5>, are_recognised_in_pieces, execute_nothing_in_pieces;
    fixed_16: Fixed<16>, are_recognised_in_pieces, execute_nothing_in_pieces;
    netstrings: Netstrings, are_recognised_in_pieces, execute_nothing_in_pieces;
    prefixed_u8: Prefixed<1>, are_recognised_in_pieces, execute_nothing_in_pieces;
    prefixed_u16: Prefixed<2>, are_recognised_in_pieces, execute_nothing_in_pieces;
    prefixed_u16_little_whole: Prefixed<2, { LITTLE_ENDIAN | INCLUDES_HEADER }>,
        are_recognised_in_pieces, execute_nothing_in_pieces;
    prefixed_u32: Prefixed<4>, are_recognised_in_pieces, execute_nothing_in_pieces;
    until_eof: UntilEof, are_recognised_in_pieces, execute_nothing_in_pieces;
    own: Growing, are_recognised_in_pieces, execute_nothing_in_pieces;
    // What arrives at once is its message, so it depends on the pieces by definition.
    raw: Raw;
}

/// What the beginnings of strangers, near misses and messages are made of.
const PARTS: [&[u8]; 36] = [
    b"GET ",
    b"POST ",
    b"PATCH ",
    b"/",
    b"/index.html",
    b"*",
    b" ",
    b" HTTP/1.",
    b" HTTP/2",
    b"1\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b";",
    b"\r\n.\r\n",
    b"PRI * HTTP/2.0\r\n",
    b"\r\n\r\n\0\r\nQUIT\n",
    b"\r\n\r\n\0\r\nQUIT\r",
    b"PROXY ",
    b"TCP4 ",
    b"UNKNOWN",
    b"SSH-",
    b"2.0-",
    b"1.",
    b"*1\r\n",
    b"$4\r\n",
    b"PING",
    b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
    b"\x16\x03\x01",
    b"\0\0\0\x03Ann",
    b"\x03\0Ann",
    b"\x03Ann",
    b"5:hello,",
    b"hello",
    b"\x80\0\0\x01\x80",
    &[b'a'; 520],
];

/// The first bytes of a connection: parts, of which the last one may be cut off, and any bytes.
fn first_bytes() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        9 => prop::sample::select(&PARTS[..]).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    let parts = prop::collection::vec(part, 1..6);
    (parts, 0..8_usize).prop_map(|(parts, cut_off)| {
        let mut bytes = parts.concat();
        bytes.truncate(usize::max(1, bytes.len().saturating_sub(cut_off)));
        bytes
    })
}

fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..6)
}

/// Leaves out the numbers of an error, which say how much had arrived when it was found.
fn without_numbers(
    (found, error): (Vec<Found>, Option<FrameError>),
) -> (Vec<Found>, Option<String>) {
    let text = |error: FrameError| {
        error
            .to_string()
            .replace(|it: char| it.is_ascii_digit(), "")
    };
    (found, error.map(text))
}

/// Reads a stream in one piece, at these cuts, in single bytes, and in twos.
fn depends_on_bytes_alone<F: Framing>(stream: &[u8], cuts: &[usize]) -> Result<(), TestCaseError> {
    for limit in [1 << 20, 64] {
        let whole = without_numbers(read::<F>(Side::Server, &[stream], limit));
        let cut = pieces(stream, cuts.to_vec());
        for pieces in [cut, stream.chunks(1).collect(), stream.chunks(2).collect()] {
            let found = without_numbers(read::<F>(Side::Server, &pieces, limit));
            prop_assert_eq!(&found, &whole, "in {} pieces", pieces.len());
        }
    }
    Ok(())
}

mod short_messages {
    use super::*;

    proptest! {
        #[test]
        fn pieces_make_no_difference(stream in first_bytes(), cuts in cuts()) {
            let cuts: Vec<_> = cuts.iter().map(|at| at.index(stream.len() + 1)).collect();
            depends_on_bytes_alone::<Threes>(&stream, &cuts)?;
            depends_on_bytes_alone::<Fixed<1>>(&stream, &cuts)?;
            depends_on_bytes_alone::<Fixed<2>>(&stream, &cuts)?;
            depends_on_bytes_alone::<OptedOut>(&stream, &cuts)?;
        }
    }
}

/// A path that is longer than the messages could carry one.
#[tokio::test]
async fn messages_in_the_pieces_of_a_path_are_not_executed() {
    let path = [&b"GET /"[..], &b"panic...panic...".repeat(40)].concat();
    for over in [Over::Tcp, Over::Memory] {
        for size in [1, 2, 16, 1 << 20] {
            let (told, requests) = serve_in_pieces::<Fixed<16>>(over, size, &path).await;
            assert_eq!(told, BAD_REQUEST, "in pieces of {size}");
            assert_eq!((requests.received, requests.rejected), (1, 1));
            let (told, requests) = serve_in_pieces::<Growing>(over, size, &path).await;
            assert_eq!(told, BAD_REQUEST, "in pieces of {size}");
            assert_eq!((requests.received, requests.rejected), (1, 1));
        }
    }
}

/// Sends what it likes to, when it likes to.
#[tokio::test]
async fn pieces_that_are_sent_one_by_one_are_recognised() {
    let server = start(ConcurrentServer::new(tester::<Lines>(&gate()))).await;
    for Stranger { says, is_told, .. } in STRANGERS {
        let mut peer = server.peer().await;
        for piece in says.chunks(2) {
            // It may have been told, and have reset.
            if within(peer.try_send(piece)).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        if let Ok(told) = within(peer.try_rest()).await {
            assert_eq!(told, is_told);
        }
    }
    let requests = server.stopped().await.requests;
    let count = STRANGERS.len() as u64;
    assert_eq!((requests.received, requests.rejected), (count, count));
}

/// A line may be long text, so it is judged at its end.
#[test]
fn request_line_of_any_length_is_no_line() {
    fn is_recognised<F: Framing>() {
        let path = "a".repeat(600);
        for (end, is_http) in [
            (" HTTP/1.1\r\n", true),
            (" HTTP/2\r\n", false),
            ("\r\n", false),
        ] {
            let line = format!("GET /{path}{end}panic\r\n");
            let line = line.as_bytes();
            for pieces in [
                vec![line],
                line.chunks(1).collect(),
                line.chunks(7).collect(),
            ] {
                let (found, error) = read::<F>(Side::Server, &pieces, 1 << 20);
                let error = error.map(|error| error.to_string());
                let expected = is_http.then_some("that looks like HTTP");
                assert_eq!(error.as_deref(), expected);
                assert_eq!(found.len(), if is_http { 0 } else { 2 });
            }
        }
    }
    is_recognised::<Lines>();
    is_recognised::<CrlfLines>();
}

#[tokio::test]
async fn framing_that_opts_out_is_left_alone() {
    for over in [Over::Tcp, Over::Memory] {
        for size in [1, 2, 1 << 20] {
            let says = b"GET / HTTP/1.1\nSSH-2.0-x\n";
            let (heard, requests) = serve_in_pieces::<OptedOut>(over, size, says).await;
            assert_eq!(heard, says, "in pieces of {size}");
            assert_eq!((requests.served, requests.rejected), (2, 0));
        }
    }
}

/// A web page chooses the path, and the path may be longer than what arrives at once.
#[tokio::test]
async fn messages_in_a_path_are_not_executed() {
    let server = start(ConcurrentServer::new(tester::<Semicolons>(&gate()))).await;
    let path = "panic;".repeat(10_000);
    for first in [600, 5_000, 60_000] {
        let mut peer = server.peer().await;
        let request = format!("POST /{path} HTTP/1.1\r\n\r\npanic;");
        within(peer.send(&request[..first])).await;
        assert_eq!(within(peer.rest()).await, BAD_REQUEST);
    }
    // A path that nothing follows is a message.
    let mut peer = server.peer().await;
    within(peer.send("GET /path;")).await;
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, b"GET /path;");
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.rejected), (1, 3));
}

/// What is found in bytes after which more may follow.
fn first<F: Framing>(
    bytes: &[u8],
    read_state: ReadState,
) -> Result<Option<ParsedFrame>, FrameError> {
    let input = Unparsed::new(bytes, 1 << 20, Side::Server, read_state);
    FirstFrame::<F>::default().parse(input)
}

/// Reads the first message at once if `then` is empty, and otherwise when `then` follows, or nothing
/// more.
fn is_message<F: Framing>(bytes: &[u8], then: &[u8]) {
    let at_once = first::<F>(bytes, ReadState::Idle);
    let Ok(Some(message)) = first::<F>(bytes, ReadState::Eof) else {
        panic!("{bytes:?} is no message");
    };
    if then.is_empty() {
        assert_eq!(at_once, Ok(Some(message)), "{bytes:?}");
        return;
    }
    assert_eq!(at_once, Ok(None), "{bytes:?}");
    let mut framing = FirstFrame::<F>::default();
    let both = [bytes, then].concat();
    for length in bytes.len()..both.len() {
        let input = Unparsed::new(&both[..length], 1 << 20, Side::Server, ReadState::Idle);
        assert_eq!(framing.parse(input), Ok(None), "{bytes:?}");
    }
    let input = Unparsed::new(&both, 1 << 20, Side::Server, ReadState::Idle);
    assert_eq!(framing.parse(input), Ok(Some(message)), "{bytes:?}");
}

#[test]
fn complete_message_that_begins_nothing_else_waits_for_nothing() {
    is_message::<Lines>(b"GET /\n", b"");
    is_message::<Lines>(b"\n", b"");
    is_message::<Lines>(b"PROXY TCP4\n", b"");
    is_message::<Lines>(format!("GET /{}\n", "a".repeat(600)).as_bytes(), b"");
    is_message::<Semicolons>(b"SSH-2.0;", b"");
    is_message::<Prefixed<1>>(b"\x16\x03\x01\x02\0\x01 is not a hello.. ", b"");
    // So little begins everything.
    is_message::<Fixed<1>>(b"G", b"");
    is_message::<Fixed<1>>(b"\r", b"");
    is_message::<Fixed<2>>(b"GE", b"");
    is_message::<Fixed<3>>(b"SSH", b"");
    is_message::<Threes>(b"GET", b"");
    is_message::<Raw>(b"GET", b"");
    is_message::<Raw>(b"GET /", b"");
    // Nothing follows the request of a framing with one exchange.
    is_message::<OneLine>(b"\r\n", b"");
    is_message::<OneLine>(b"*1\r\n", b"");
    // Only the first message is looked at.
    let (found, error) = read::<Lines>(Side::Server, &[b"a\nSSH-2.0-a\n"], 1 << 20);
    assert_eq!((found.len(), error), (2, None));
    let (found, error) = read::<Prefixed<1>>(Side::Server, &[b"\x01aSSH-2.0-a"], 1 << 20);
    assert_eq!((found.len(), error.is_some()), (1, true));
    assert_ne!(
        error.expect("83 bytes do not follow").to_string(),
        "that looks like SSH"
    );
}

/// It waits until it cannot become one, because its own bytes leave that open and those that follow may
/// have been sent with it.
#[test]
fn first_message_that_can_begin_another_protocol_waits_until_it_does_not() {
    is_message::<Lines>(b"*1\r\n", b"a");
    is_message::<Lines>(b"\r\n", b"a");
    is_message::<CrlfLines>(b"\r\n", b"\r\n.");
    is_message::<Fixed<4>>(b"POST", b"S");
    is_message::<Fixed<2>>(b"\x16\x03", b"\xff");
    is_message::<Semicolons>(b"GET /path;", b"?a b");
    is_message::<Growing>(b"GET /", b" HTTP/2");
    // At the end of the input, the framing is not asked again.
    let mut framing = FirstFrame::<Growing>::default();
    for read_state in [ReadState::Idle, ReadState::Eof] {
        let input = Unparsed::new(b"GET /", 1 << 20, Side::Server, read_state);
        let message = (read_state == ReadState::Eof).then(|| ParsedFrame::message(0..5, 5));
        assert_eq!(framing.parse(input), Ok(message));
    }
}

/// What is no frame is an error only when it is no beginning of another protocol.
#[test]
fn error_waits_until_it_is_clear_what_the_peer_speaks() {
    let mut framing = FirstFrame::<Netstrings>::default();
    let mut parse = |bytes: &[u8], read_state| {
        framing.parse(Unparsed::new(bytes, 1 << 20, Side::Server, read_state))
    };
    assert_eq!(parse(b"GET /", ReadState::Idle), Ok(None));
    let error = parse(b"GET /", ReadState::Eof).expect_err("no netstring");
    assert_eq!(
        error.to_string(),
        "`G` where a netstring has the digits of a length"
    );
}

/// Hears a server that says `bytes` and closes; returns the error.
async fn hears<F: Framing>(bytes: &'static [u8]) -> String {
    let (addr, server) = RawServer::once(async move |mut peer| {
        within(peer.send(bytes)).await;
    })
    .await;
    let mut connection: Connection<F> = Connection::connect(addr).await.expect("it listens");
    let received = within(connection.receive::<&str, Plain>()).await;
    let error = received.expect_err("that is no reply");
    assert_eq!(error.kind(), ErrorKind::Reply);
    within(server).await.expect("it speaks");
    let source = std::error::Error::source(&error).expect("the reason");
    source.to_string()
}

#[tokio::test]
async fn client_is_told_what_its_server_speaks() {
    let http = b"HTTP/1.1 400 Bad Request\r\n\r\n";
    for error in [
        hears::<LengthPrefixed>(http).await,
        hears::<Prefixed<4>>(http).await,
        hears::<Prefixed<2>>(http).await,
        hears::<Netstrings>(http).await,
    ] {
        assert!(error.ends_with("; that looks like HTTP"), "{error}");
    }
    let ssh = hears::<LengthPrefixed>(b"SSH-2.0-OpenSSH_9.6\r\n").await;
    assert!(ssh.ends_with("; that looks like SSH"), "{ssh}");
    let redis = hears::<Netstrings>(b"-ERR unknown command\r\n").await;
    assert!(redis.ends_with("; that looks like Redis"), "{redis}");
    let tls = hears::<LengthPrefixed>(b"\x15\x03\x01\0\x02\x02\x46").await;
    assert!(tls.ends_with("; that looks like TLS"), "{tls}");
}

/// What servers of this library say to a peer that speaks another framing.
const EXPECTS_LENGTH: &[u8] =
    b"This port expects length-prefixed frames; to use it with nc, serve it \
    with `framing = Lines`.\n";
const EXPECTS_LINES: &[u8] =
    b"\x80\0\0\x37\x43this port expects lines of text: use `framing = Lines`";

/// Hears a server that says `bytes` and closes, with framings that would take them for a reply.
async fn heard_by_all(bytes: &'static [u8]) -> Vec<String> {
    vec![
        hears::<Lines>(bytes).await,
        hears::<CrlfLines>(bytes).await,
        hears::<Semicolons>(bytes).await,
        hears::<Delimited<{ delimiter(b" ") }>>(bytes).await,
        hears::<Fixed<4>>(bytes).await,
        hears::<Prefixed<1>>(bytes).await,
        hears::<Prefixed<2>>(bytes).await,
        hears::<Netstrings>(bytes).await,
        hears::<Raw>(bytes).await,
        hears::<UntilEof>(bytes).await,
        hears::<Threes>(bytes).await,
    ]
}

#[tokio::test]
async fn what_a_server_says_to_a_client_of_another_framing_is_no_reply() {
    for (bytes, said) in [
        (EXPECTS_LENGTH, "expects length-prefixed frames"),
        (EXPECTS_LINES, "expects lines of text"),
    ] {
        let mut errors = heard_by_all(bytes).await;
        // They may carry what looks like other protocols, but not this.
        errors.push(hears::<OptedOut>(bytes).await);
        for error in errors {
            assert_eq!(error, format!("the server answers that it {said}"));
        }
    }
}

/// Fails unless a client takes no part of `said` for a reply, however it arrives.
fn is_no_reply_in_pieces<F: Framing>(said: &[u8], error: &str) {
    let error = FrameError::malformed(format_args!("the server answers that it {error}"));
    every_split_gives::<F>(Side::Client, said, 1 << 20, &(Vec::new(), Some(error)));
}

#[test]
fn what_a_server_says_to_another_client_is_no_reply_in_pieces() {
    for (said, error) in [
        (EXPECTS_LENGTH, "expects length-prefixed frames"),
        (EXPECTS_LINES, "expects lines of text"),
        (BAD_REQUEST, "does not speak HTTP"),
        (b"This port does not speak SSH.\r\n", "does not speak SSH"),
        (
            b"-ERR this port does not speak the protocol of Redis\r\n",
            "does not speak Redis",
        ),
    ] {
        is_no_reply_in_pieces::<Lines>(said, error);
        is_no_reply_in_pieces::<CrlfLines>(said, error);
        is_no_reply_in_pieces::<Semicolons>(said, error);
        is_no_reply_in_pieces::<Delimited<{ delimiter(b" ") }>>(said, error);
        is_no_reply_in_pieces::<Fixed<4>>(said, error);
        is_no_reply_in_pieces::<Prefixed<1>>(said, error);
        is_no_reply_in_pieces::<Prefixed<2>>(said, error);
        is_no_reply_in_pieces::<Netstrings>(said, error);
        is_no_reply_in_pieces::<Raw>(said, error);
        is_no_reply_in_pieces::<UntilEof>(said, error);
        if said == EXPECTS_LENGTH || said == EXPECTS_LINES {
            is_no_reply_in_pieces::<OptedOut>(said, error);
        }
    }
}

#[test]
fn reply_that_begins_like_a_notice_waits_for_the_bytes_that_follow() {
    fn parse<const N: usize>(arrivals: &[(&[u8], ReadState)]) -> Option<ParsedFrame> {
        let mut framing = FirstFrame::<Fixed<N>>::default();
        let mut parsed = None;
        for (bytes, read_state) in arrivals {
            assert_eq!(parsed, None);
            let input = Unparsed::new(bytes, 100, Side::Client, *read_state);
            parsed = framing.parse(input).expect("a reply");
        }
        parsed
    }
    let reply = Some(ParsedFrame::message(0..4, 4));
    let waits = (&b"This"[..], ReadState::Idle);
    assert_eq!(parse::<4>(&[waits]), None);
    assert_eq!(parse::<4>(&[waits, (b"This is", ReadState::Idle)]), reply);
    assert_eq!(parse::<4>(&[waits, (b"This", ReadState::Eof)]), reply);
    assert_eq!(parse::<4>(&[(b"That", ReadState::Idle)]), reply);
    let short = Some(ParsedFrame::message(0..3, 3));
    assert_eq!(parse::<3>(&[(b"Thi", ReadState::Idle)]), short);
}

#[tokio::test]
async fn what_a_server_says_to_another_protocol_is_no_reply() {
    for (bytes, protocol) in [
        (BAD_REQUEST, "HTTP"),
        (b"This port does not speak SSH.\r\n", "SSH"),
        (
            b"-ERR this port does not speak the protocol of Redis\r\n",
            "Redis",
        ),
    ] {
        for error in heard_by_all(bytes).await {
            let told = format!("the server answers that it does not speak {protocol}");
            assert_eq!(error, told);
        }
    }
}

/// Where anything is a reply, nothing is guessed.
#[tokio::test]
async fn reply_may_be_anything() {
    let (addr, server) = RawServer::once(async move |mut peer| {
        within(peer.send("SSH-2.0-OpenSSH_9.6\r\n")).await;
    })
    .await;
    let mut connection: Connection<Lines> = Connection::connect(addr).await.expect("it listens");
    let version = within(connection.receive::<&str, Plain>()).await;
    assert_eq!(version.expect("a line"), "SSH-2.0-OpenSSH_9.6");
    within(server).await.expect("it speaks");
}

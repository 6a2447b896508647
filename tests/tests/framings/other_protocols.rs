//! Peers that speak another protocol are recognised on every framing, told in their own terms, and
//! execute nothing, however their bytes arrive.

use proptest::prelude::*;
use tcs::{
    ConcurrentServer, Peer,
    framing::{
        Blocks, ContentLength, CrlfLines, CrlfText, Delimited, Digits, Fixed, FrameError, Framing,
        Hex4, INCLUDES_HEADER, LITTLE_ENDIAN, LengthField, LengthPrefixed, Lines, Multiplexed,
        Netstrings, Prefixed, Raw, Side, UntilEof, Varint, delimiter, length_field,
    },
    server::RequestCounts,
    testing::FaultyStream,
};
use tcs_tests::{
    Over, adds_up, control,
    cutting::{Found, pieces, read},
    gate,
    ids::control_of,
    naive::Plus,
    start, tester, within,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::own_framings::{DotLines, Growing, OptedOut, Semicolons, Threes};

/// What a client of another protocol says first, what it is called, and what it is told.
struct Stranger {
    says: &'static [u8],
    name: &'static str,
    is_told: &'static [u8],
}

pub(crate) const BAD_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\
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
        if is_told.is_empty() && F::HAS_REJECTION_FRAME {
            let text = format!("that looks like {name}");
            expected = if F::HAS_IDS {
                control_of(0, 0x43, text)
            } else {
                control(0x43, &text)
            };
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

/// Sends `says` to a server that reads it in pieces; returns what the server says, and what it counts.
async fn serve_in_pieces<F: Framing>(
    over: Over,
    size: usize,
    says: &[u8],
) -> (Vec<u8>, RequestCounts) {
    if matches!(over, Over::Tcp) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let near = within(TcpStream::connect(addr)).await.expect("it listens");
        let (far, _) = within(listener.accept()).await.expect("it is there");
        return talk::<F, _>(near, FaultyStream::new(far).chunked(size), says).await;
    }
    let (near, far) = tokio::io::duplex(1 << 16);
    talk::<F, _>(near, FaultyStream::new(far).chunked(size), says).await
}

async fn talk<F: Framing, S>(near: S, far: FaultyStream, says: &[u8]) -> (Vec<u8>, RequestCounts)
where
    S: AsyncRead + AsyncWrite,
{
    let server = ConcurrentServer::new(tester::<F>(&gate()));
    let serving = tokio::spawn(server.serve_stream(far, Peer::unnamed()));
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
    multiplexed: Multiplexed, are_recognised_in_pieces, execute_nothing_in_pieces;
    lines: Lines, are_recognised_in_pieces, execute_nothing_in_pieces;
    blocks: Blocks<Plus>, are_recognised_in_pieces, execute_nothing_in_pieces;
    content_length: ContentLength, are_recognised_in_pieces, execute_nothing_in_pieces;
    crlf_text: CrlfText, are_recognised_in_pieces, execute_nothing_in_pieces;
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
    length_field: LengthField<{ length_field(2).offset(4).pack() }>,
        are_recognised_in_pieces, execute_nothing_in_pieces;
    varint: Varint, are_recognised_in_pieces, execute_nothing_in_pieces;
    varint_after_1: Varint<1>, are_recognised_in_pieces, execute_nothing_in_pieces;
    digits: Digits<b' '>, are_recognised_in_pieces, execute_nothing_in_pieces;
    hex4: Hex4, are_recognised_in_pieces, execute_nothing_in_pieces;
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
    is_recognised::<Delimited<{ delimiter(b"\n") }>>();
    is_recognised::<Delimited<{ delimiter(b"\r\n") }>>();
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

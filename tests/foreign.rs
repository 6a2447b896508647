//! Peers that speak another protocol are recognised on every framing, told in their own terms, and
//! execute nothing.

use tcs::{
    Arrival, ConcurrentServer, Connection, CrlfLines, Delimited, ErrorKind, Fixed, Framing,
    LengthPrefixed, Lines, Netstrings, Plain, Prefixed, Raw, Side, Unparsed, UntilEof, delimiter,
    prefix::{IncludesHeader, LittleEndian},
};
use tcs_tests::{control, cutting::read, gate, raw_server::RawServer, start, tester, within};

type Semicolons = Delimited<{ delimiter(b";") }>;
type DotLines = Delimited<{ delimiter(b"\r\n.\r\n") }>;

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
    assert_eq!((requests.received, requests.refused), (count, count));
}

/// Cuts what each of them says anywhere: no part of it is ever taken for a message.
fn are_recognised_in_pieces<F: Framing>() {
    let is_lines = std::any::type_name::<F>().ends_with("Lines");
    for Stranger { says, name, .. } in STRANGERS {
        if is_lines && matches!(name, "Redis" | "a PROXY header") {
            // Their first line is one.
            continue;
        }
        let expected = format!("that looks like {name}");
        let single: Vec<_> = says.chunks(1).collect();
        let cut = |at| {
            let (before, behind) = says.split_at(at);
            vec![before, behind]
        };
        for pieces in (0..=says.len()).map(cut).chain([single]) {
            // With the second limit, some lengths of two bytes are too large, but can be skipped.
            for limit in [1 << 20, 8_000] {
                let (found, error) = read::<F>(Side::Server, &pieces, limit);
                assert!(found.is_empty(), "{name}: {found:?}");
                let error = error.expect("it is refused").to_string();
                assert_eq!(error, expected, "{pieces:?}");
            }
        }
    }
}

macro_rules! on {
    ($($name:ident: $framing:ty $(, $pieces:ident)?;)*) => { $(
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
            )?
        }
    )* };
}

on! {
    length_prefixed: LengthPrefixed, are_recognised_in_pieces;
    lines: Lines, are_recognised_in_pieces;
    crlf_lines: CrlfLines, are_recognised_in_pieces;
    semicolons: Semicolons, are_recognised_in_pieces;
    dot_lines: DotLines, are_recognised_in_pieces;
    fixed: Fixed<5>;
    netstrings: Netstrings, are_recognised_in_pieces;
    prefixed_u8: Prefixed<u8>, are_recognised_in_pieces;
    prefixed_u16: Prefixed<u16>, are_recognised_in_pieces;
    prefixed_u16_little_whole: Prefixed<u16, LittleEndian, IncludesHeader>, are_recognised_in_pieces;
    prefixed_u32: Prefixed<u32>, are_recognised_in_pieces;
    until_eof: UntilEof, are_recognised_in_pieces;
    raw: Raw;
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
    // A path that has ended in nothing of HTTP is a message.
    let mut peer = server.peer().await;
    within(peer.send("GET /path;")).await;
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, b"GET /path;");
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.refused), (1, 3));
}

/// What begins like another protocol waits for more of it only while it is no message.
#[test]
fn complete_message_waits_for_nothing() {
    fn is_message<F: Framing>(bytes: &[u8]) {
        let input = Unparsed::new(bytes, 1 << 20, Side::Server, Arrival::Paused);
        let found = F::default().parse(input);
        assert!(matches!(found, Ok(Some(_))), "{bytes:?}: {found:?}");
    }
    is_message::<Lines>(b"*1\r\n");
    is_message::<Lines>(b"GET /\n");
    is_message::<Lines>(b"PROXY TCP4\n");
    is_message::<Semicolons>(b"SSH-2.0;");
    is_message::<Fixed<4>>(b"POST");
    is_message::<Prefixed<u8>>(b"\x16\x03\x01\x02\0\x01 is not a hello.. ");
    is_message::<Raw>(b"GET");
    // Only the first message is looked at.
    let (found, error) = read::<Lines>(Side::Server, &[b"a\nSSH-2.0-a\n"], 1 << 20);
    assert_eq!((found.len(), error), (2, None));
    let (found, error) = read::<Prefixed<u8>>(Side::Server, &[b"\x01aSSH-2.0-a"], 1 << 20);
    assert_eq!((found.len(), error.is_some()), (1, true));
    assert_ne!(
        error.expect("83 bytes do not follow").to_string(),
        "that looks like SSH"
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
        hears::<Prefixed<u32>>(http).await,
        hears::<Prefixed<u16>>(http).await,
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

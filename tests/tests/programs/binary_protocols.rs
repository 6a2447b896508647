//! The examples of existing protocols, with clients that nobody here wrote, and with what no client should send.

use tcs_tests::{
    process::{Finished, Process, connect, is_missing, is_package_missing, port_1234},
    within,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::serving::{ADDRESS, stop, told};

const CONNECT: &[u8] = b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0";
const CONNACK: &[u8] = b"\x20\x02\0\0";

/// Runs a script that is a client of an example, and returns what it prints.
async fn client(script: &str) -> Vec<String> {
    drop(connect(ADDRESS).await);
    let client = Process::python(script, ["1234"]);
    client.finished().await.succeeded()
}

/// Ends an example that has printed nothing more.
async fn ends(server: Process) {
    assert_eq!(stop(server).await, [""; 0]);
}

#[tokio::test]
async fn modbus_serves_pymodbus() {
    if is_package_missing("pymodbus") {
        return;
    }
    let _port = port_1234().await;
    let server = Process::example("modbus");
    assert_eq!(
        client("modbus_client.py").await,
        [
            "write done",
            "write one [7]",
            "read [0, 17, 4660, 65535, 0]",
            "read the last [7]",
            "read behind them exception 2",
            "write behind them exception 2",
            "read coils exception 1",
        ]
    );
    ends(server).await;
}

#[tokio::test]
async fn modbus_answers_hostile_requests_with_exceptions() {
    let _port = port_1234().await;
    let server = Process::example("modbus");
    for (request, response) in [
        // No address; half a number; no registers, and too many; values that are fewer than they say.
        (
            &b"\x01\x02\0\0\0\x02\x11\x03"[..],
            &b"\x01\x02\0\0\0\x03\x11\x83\x03"[..],
        ),
        (
            b"\0\0\0\0\0\x05\x11\x03\0\0\0",
            b"\0\0\0\0\0\x03\x11\x83\x03",
        ),
        (
            b"\0\0\0\0\0\x06\x11\x03\0\0\0\0",
            b"\0\0\0\0\0\x03\x11\x83\x03",
        ),
        (
            b"\0\0\0\0\0\x07\x11\x10\0\0\0\0\0",
            b"\0\0\0\0\0\x03\x11\x90\x03",
        ),
        (
            b"\0\0\0\0\0\x06\x11\x03\0\0\0\x7e",
            b"\0\0\0\0\0\x03\x11\x83\x03",
        ),
        (
            b"\0\0\0\0\0\x09\x11\x10\0\0\0\x01\x04\0\x07",
            b"\0\0\0\0\0\x03\x11\x90\x03",
        ),
        (
            b"\0\0\0\0\0\x06\x11\x03\xff\xff\0\x01",
            b"\0\0\0\0\0\x03\x11\x83\x02",
        ),
        (b"\0\0\0\0\0\x02\x11\xff", b"\0\0\0\0\0\x03\x11\xff\x01"),
        // Cut, another protocol, no function, and a length that no frame has: not executed.
        (b"\0\0\0\0\0\x06\x11\x06\0\0\0", b""),
        (b"\0\0\0\x01\0\x06\x11\x06\0\0\0\x07", b""),
        (b"\0\0\0\0\0\x01\x11", b""),
        (b"\0\0\0\0\0\xff", b""),
        (b"\0\0\0\0\xff\xff\x11\x06\0\0\0\x07", b""),
        // Two at once, and nothing was written.
        (
            b"\0\x01\0\0\0\x06\x11\x03\0\0\0\x01\0\x02\0\0\0\x06\x11\x03\0\0\0\x01",
            b"\0\x01\0\0\0\x05\x11\x03\x02\0\0\0\x02\0\0\0\x05\x11\x03\x02\0\0",
        ),
    ] {
        assert_eq!(told(request).await, response, "{request:x?}");
    }
    ends(server).await;
}

#[tokio::test]
async fn mqtt_serves_paho() {
    if is_package_missing("paho.mqtt.client") {
        return;
    }
    let _port = port_1234().await;
    let server = Process::example("mqtt");
    assert_eq!(
        client("mqtt_client.py").await,
        [
            "ann: Success",
            "bob: Success",
            "ann is subscribed: Granted QoS 0, Granted QoS 0",
            "ann is subscribed: Unspecified error",
            "ann gets news (0): hello",
            "ann gets mail/ann (0): againagainagainagain",
            "ann gets news (0): to myself",
            "ann is unsubscribed",
            "ann gets mail/ann (0): the end",
            "old: Unsupported protocol version",
        ]
    );
    ends(server).await;
}

#[tokio::test]
async fn mqtt_closes_the_connections_of_hostile_clients() {
    let _port = port_1234().await;
    let server = Process::example("mqtt");
    assert_eq!(told(CONNECT).await, CONNACK);
    // The length may be longer than it must be.
    assert_eq!(told(b"\x10\x8c\0\0\x04MQTT\x04\x02\0\0\0\0").await, CONNACK);
    for too_early in [
        &b"\xc0\0"[..],
        b"\x82\x06\0\x01\0\x01a\0",
        b"\x30\x03\0\x01a",
    ] {
        assert_eq!(told(too_early).await, b"", "{too_early:x?}");
    }
    assert_eq!(
        told(b"\x10\x0c\0\x04MQTT\x05\x02\0\0\0\0").await,
        b"\x20\x02\0\x01"
    );
    for (packets, replies) in [
        (&b"\xc0\0"[..], &b"\xd0\0\xd0\0"[..]),
        // A second CONNECT, quality 2, DUP without quality, no topics, a cut topic, DISCONNECT, a wrong kind, a flag of PINGREQ.
        (CONNECT, b""),
        (b"\x34\x06\0\x01a\0\x02x", b""),
        (b"\x38\x03\0\x01a", b""),
        (b"\x82\x02\0\x01", b""),
        (b"\x82\x06\0\x01\0\x09a\0", b""),
        (b"\x82\x05\0\x01\0\x01a", b""),
        (b"\xe0\0", b""),
        (b"\xf0\0", b""),
        (b"\xc1\0", b""),
        (b"\xc0\x01x", b""),
        // Lengths: too wide, too large, and cut.
        (b"\x30\xff\xff\xff\xff\xff\x01", b""),
        (b"\x30\xff\xff\xff\x7f", b""),
        (b"\x30\x06\0\x01a", b""),
    ] {
        // What follows is not answered.
        let packets = [CONNECT, packets, b"\xc0\0"].concat();
        assert_eq!(
            told(&packets).await,
            [CONNACK, replies].concat(),
            "{packets:x?}"
        );
    }
    ends(server).await;
}

#[tokio::test]
async fn syslog_takes_what_logger_sends() {
    if is_missing("logger") {
        return;
    }
    let _port = port_1234().await;
    let mut server = Process::example("syslog");
    drop(connect(ADDRESS).await);
    for (arguments, printed) in [
        (
            &[
                "--rfc5424=notime,nohost",
                "--priority",
                "mail.err",
                "disk full",
            ][..],
            "2.err \"1 - - test - - - disk full\"",
        ),
        (
            &["--rfc5424=notime,nohost", "Grüße"],
            "1.notice \"1 - - test - - - Grüße\"",
        ),
    ] {
        let to = [
            "--tcp",
            "--octet-count",
            "-n",
            "127.0.0.1",
            "-P",
            "1234",
            "-t",
            "test",
        ];
        let logger = Process::start("logger", to.iter().chain(arguments));
        assert_eq!(logger.finished().await.succeeded(), [""; 0]);
        assert_eq!(server.line().await, printed);
    }
    ends(server).await;
}

/// A subscription gets what its own connection publishes, behind the acknowledgement.
#[tokio::test]
async fn mqtt_pushes_behind_the_reply() {
    let _port = port_1234().await;
    let server = Process::example("mqtt");
    let mut client = connect(ADDRESS).await;
    let sent = b"\x82\x06\0\x01\0\x01a\0\x32\x06\0\x01a\0\x02x";
    let sent = [CONNECT, sent].concat();
    within(client.write_all(&sent)).await.expect("it is open");
    let mut told = [0; 19];
    within(client.read_exact(&mut told))
        .await
        .expect("it is open");
    assert_eq!(
        told,
        *b"\x20\x02\0\0\x90\x03\0\x01\0\x40\x02\0\x02\x30\x04\0\x01ax"
    );
    drop(client);
    ends(server).await;
}

/// Runs `git ls-remote`, and returns how it ended.
async fn ls_remote(path: &str) -> Finished {
    let url = format!("git://127.0.0.1:1234{path}");
    Process::start("git", ["ls-remote", &url]).finished().await
}

#[tokio::test]
async fn git_shows_its_references() {
    if is_missing("git") {
        return;
    }
    let _port = port_1234().await;
    let server = Process::example("git");
    drop(connect(ADDRESS).await);
    let id = "ce013625030ba8dba906f756967f9e9ca394464a";
    let names = ["HEAD", "refs/heads/main", "refs/tags/v1"];
    assert_eq!(
        ls_remote("/tcs").await.succeeded(),
        names.map(|name| format!("{id}\t{name}"))
    );
    let refused = ls_remote("/other").await;
    let said = refused.stderr.trim_end();
    assert_eq!(said, "fatal: remote error: there is no repository /other");
    for (sent, reply) in [
        (
            &b"0019git-upload-pack /a\0h="[..],
            &b"0022ERR there is no repository /a\n"[..],
        ),
        // No request, a flush, a line that is cut, too short, too long, and no digits.
        (b"0009hello", b""),
        (b"00000019git-upload-pack /a\0h=", b""),
        (b"0019git-upload-pack /a\0h", b""),
        (b"0003", b""),
        (b"fff1", b""),
        (b"00x9hello", b""),
    ] {
        assert_eq!(told(sent).await, reply, "{sent:?}");
    }
    ends(server).await;
}

/// Syslog has no way to answer.
#[tokio::test]
async fn syslog_closes_the_connections_of_hostile_senders() {
    let _port = port_1234().await;
    let mut server = Process::example("syslog");
    for (sent, printed) in [
        (
            &b"5 <34>a3 b\xffc"[..],
            &["4.crit \"a\"", "1.notice \"b\u{fffd}c\""][..],
        ),
        (b"0 8 <192>two", &["1.notice \"\"", "1.notice \"<192>two\""]),
        // A cut message, a line in place of a length, a zero before it, and lengths that are too large.
        (b"5 <34>", &[]),
        (b"<34>a\n", &[]),
        (b"05 <34>a", &[]),
        (b"99999999 x", &[]),
        (b"18446744073709551616 x", &[]),
    ] {
        assert_eq!(told(sent).await, b"", "{sent:?}");
        for line in printed {
            assert_eq!(server.line().await, *line);
        }
    }
    ends(server).await;
}

#[tokio::test]
async fn websocket_serves_websockets() {
    if is_package_missing("websockets") {
        return;
    }
    let _port = port_1234().await;
    let server = Process::example("websocket");
    assert_eq!(
        client("websocket_client.py").await,
        [
            "101 [] None",
            "grüße",
            "one two three",
            "True True True True True True True",
            "1000",
            "1009 1009",
        ]
    );
    ends(server).await;
}

#[tokio::test]
async fn websocket_closes_with_the_codes_of_the_protocol() {
    let _port = port_1234().await;
    let server = Process::example("websocket");
    let refused = b"HTTP/1.1 400 Bad Request\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\
        Connection: close\r\n\r\n";
    // The example of RFC 6455, section 1.3.
    let asked = "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let accepted =
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    for wrong in [
        "GET / HTTP/1.1\r\n\r\n",
        &asked.replace("GET", "POST"),
        &asked.replace("HTTP/1.1", "HTTP/1.0"),
        &asked.replace(": 13", ": 8"),
        &asked.replace("Key", "Kex"),
        &asked.replace("Upgrade: websocket", "Upgrade: h2c"),
        &asked[..100],
        &"x".repeat(5 << 20),
        "\u{1}frame",
    ] {
        assert_eq!(
            told(wrong.as_bytes()).await,
            refused,
            "{:?}",
            wrong.get(..90)
        );
    }
    for (frames, replies) in [
        (
            &b"\x81\x82\x01\x02\x03\x04ik\x89\x80\0\0\0\0"[..],
            &b"\x81\x02hi\x8a\0"[..],
        ),
        // A ping within a message; the ends, of which the first one counts.
        (
            b"\x01\x81\0\0\0\0a\x89\x81\0\0\0\0?\x80\x81\0\0\0\0b",
            b"\x8a\x01?\x81\x02ab",
        ),
        (b"\x88\x80\0\0\0\0\x89\x80\0\0\0\0", b"\x88\x02\x03\xe8"),
        (b"\x88\x84\0\0\0\0\x03\xe8by", b"\x88\x02\x03\xe8"),
        (b"\x88\x81\0\0\0\0x", b"\x88\x02\x03\xe8"),
        // Not masked, reserved bits and kinds, a ping in parts, a long one, and cut.
        (b"\x81\x02hi", b"\x88\x02\x03\xea"),
        (b"\xc1\x80\0\0\0\0", b"\x88\x02\x03\xea"),
        (b"\x83\x80\0\0\0\0", b"\x88\x02\x03\xea"),
        (b"\x8b\x80\0\0\0\0", b"\x88\x02\x03\xea"),
        (b"\x09\x80\0\0\0\0", b"\x88\x02\x03\xea"),
        (b"\x89\xfe\0\x7e\0\0\0\0", b"\x88\x02\x03\xea"),
        (b"\x81\x82\0\0\0\0h", b"\x88\x02\x03\xea"),
        // Parts in the wrong order.
        (b"\x80\x80\0\0\0\0", b"\x88\x02\x03\xea"),
        (b"\x01\x80\0\0\0\0\x81\x80\0\0\0\0", b"\x88\x02\x03\xea"),
        // No text, and lengths beyond the limit.
        (b"\x81\x81\0\0\0\0\xff", b"\x88\x02\x03\xef"),
        (
            b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
            b"\x88\x02\x03\xea",
        ),
    ] {
        let sent = [asked.as_bytes(), frames].concat();
        let expected = [&accepted[..], replies].concat();
        assert_eq!(told(&sent).await, expected, "{frames:x?}");
    }
    let mut stream = connect(ADDRESS).await;
    let mut told = vec![0; accepted.len()];
    within(async {
        stream.write_all(asked.as_bytes()).await?;
        stream.read_exact(&mut told).await
    })
    .await
    .expect("the server answers");
    server.interrupt().await;
    told.clear();
    within(stream.read_to_end(&mut told))
        .await
        .expect("it closes");
    assert_eq!(told, b"\x88\x02\x03\xe9", "it goes away");
    drop(stream);
    assert_eq!(server.finished().await.succeeded(), [""; 0]);
}

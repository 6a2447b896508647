//! The examples for clients of Redis and of PostgreSQL.

use tcs_tests::process::{Process, connect, is_missing, port_1234};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::serving::{ADDRESS, serve, stop, told};

/// Starts `redis-cli` with a command.
fn redis_cli(command: &str) -> Process {
    let words = command.split(' ');
    Process::start("redis-cli", ["-p", "1234"].into_iter().chain(words))
}

#[tokio::test]
async fn resp_serves_redis_cli() {
    if is_missing("redis-cli") {
        return;
    }
    let _port = port_1234().await;
    let server = serve("resp").await;
    let commands = "PING\necho 'hello there'\nset key \"a\\r\\nb\"\nGET key\nGET none\nINCR number\nINCR number\n\
        INCR key\nDEL key number none\nBLPOP list 0.01\nBLPOP list x\nRPUSH list one two\nBLPOP list 0\nGET\n\
        PUBLISH news nobody\nHELLO 3\nCONFIG GET save\nCOMMAND DOCS";
    let script = "printf '%s' \"$1\" | redis-cli --no-raw -p 1234";
    let client = Process::start("sh", ["-c", script, "sh", commands]);
    assert_eq!(
        client.finished().await.succeeded(),
        [
            "PONG",
            "\"hello there\"",
            "OK",
            r#""a\r\nb""#,
            "(nil)",
            "(integer) 1",
            "(integer) 2",
            "(error) ERR value is not an integer or out of range",
            "(integer) 2",
            "(nil)",
            "(error) ERR timeout is not a float or out of range",
            "(integer) 2",
            "1) \"list\"",
            "2) \"one\"",
            "(error) ERR unknown command 'GET', or a wrong number of arguments",
            "(integer) 0",
            "(error) ERR unknown command 'HELLO', or a wrong number of arguments",
            "1) \"save\"",
            "2) \"\"",
            "(empty array)",
        ]
    );
    assert_eq!(stop(server).await, [""; 0]);
}

#[tokio::test]
async fn resp_wakes_those_who_subscribe_and_wait() {
    if is_missing("redis-cli") {
        return;
    }
    let _port = port_1234().await;
    let server = serve("resp").await;
    let mut subscriber = redis_cli("SUBSCRIBE news more");
    for line in ["subscribe", "news", "1", "subscribe", "more", "2"] {
        assert_eq!(subscriber.line().await, line);
    }
    let publisher = redis_cli("PUBLISH more hello");
    assert_eq!(publisher.finished().await.succeeded(), ["1"]);
    for line in ["message", "more", "hello"] {
        assert_eq!(subscriber.line().await, line);
    }
    drop(subscriber);

    // Each of two that wait gets one. Nothing tells who began to wait first.
    let mut first = connect(ADDRESS).await;
    let asked = first.write_all(b"PING\nBLPOP list 0\n").await;
    let mut pong = [0; 7];
    asked
        .and(first.read_exact(&mut pong).await.map(drop))
        .expect("it replies");
    let second = redis_cli("BLPOP list 0");
    let pusher = redis_cli("RPUSH list one two");
    pusher.finished().await.succeeded();
    let mut popped = [0; 23];
    first.read_exact(&mut popped).await.expect("it replies");
    let popped = String::from_utf8_lossy(&popped);
    let (of_first, of_second) = if popped.contains("one") {
        ("one", "two")
    } else {
        ("two", "one")
    };
    assert_eq!(popped, format!("*2\r\n$4\r\nlist\r\n$3\r\n{of_first}\r\n"));
    assert_eq!(second.finished().await.succeeded(), ["list", of_second]);
    assert_eq!(stop(server).await, [""; 0]);
}

#[tokio::test]
async fn resp_serves_redis_benchmark() {
    // It is in the same package. By itself, it would look for a server of Redis.
    if is_missing("redis-cli") {
        return;
    }
    let _port = port_1234().await;
    let server = serve("resp").await;
    let arguments = "-p 1234 -t get,set -P 16 -n 2000 --csv".split(' ');
    let client = Process::start("redis-benchmark", arguments);
    let printed = client.finished().await.succeeded();
    let names: Vec<&str> = printed
        .iter()
        .filter_map(|it| it.split('"').nth(1))
        .collect();
    assert_eq!(names, ["test", "SET", "GET"]);
    assert_eq!(stop(server).await, [""; 0]);
}

#[tokio::test]
async fn resp_tells_in_its_own_terms_what_is_wrong() {
    let _port = port_1234().await;
    let server = serve("resp").await;
    let cut = "-ERR the connection ended in the middle of a frame\r\n";
    for (sent, reply) in [
        // Lines of words, nothing at all, and what would end an error.
        ("\r\n*0\r\n \nPING\n", "+PONG\r\n"),
        (
            "*1\r\n$3\r\n+\r\n\r\n",
            "-ERR unknown command '+\\r\\n', or a wrong number of arguments\r\n",
        ),
        // Too early, and too late.
        (
            "SUBSCRIBE a\nGET a\nPING\nUNSUBSCRIBE a\nGET a\n",
            "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n\
            -ERR only SUBSCRIBE, UNSUBSCRIBE, PING and QUIT work now\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n\
            *3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n$-1\r\n",
        ),
        ("QUIT\nPING\n", "+OK\r\n"),
        // Cut, of another kind, without a length, and too large.
        ("*1\r\n$4\r\nPI", cut),
        ("*99999999999\r\n", cut),
        ("PING", cut),
        (
            "*1\r\n:1\r\nPING\r\n",
            "-ERR Protocol error: expected '$' and a number, got ':1\\r\\n'\r\n",
        ),
        (
            "*x\r\nPING\r\n",
            "-ERR Protocol error: expected '*' and a number, got '*x\\r\\n'\r\n",
        ),
        (
            "*1\r\n$18446744073709551615\r\n",
            "-ERR a message of 18446744073709551615 bytes exceeds `max_frame_len` of 8388608 bytes\r\n",
        ),
        (
            "*1\r\n$00000000000000000000000000000001\r\n",
            "-ERR Protocol error: expected '$' and a number, got '$0000000000000000000000000000000'\r\n",
        ),
        (
            "*1\r\n$99999999\r\n",
            "-ERR a message of 100000016 bytes exceeds `max_frame_len` of 8388608 bytes\r\n",
        ),
    ] {
        let told = told(sent.as_bytes()).await;
        assert_eq!(String::from_utf8_lossy(&told), reply, "{sent:?}");
    }
    assert_eq!(stop(server).await, [""; 0]);
}

#[tokio::test]
async fn postgres_serves_psql() {
    if is_missing("psql") {
        return;
    }
    let _port = port_1234().await;
    let server = serve("postgres").await;
    let commands = "SELECT 1;\nselect * from moons;\nSELECT * FROM stars;\n\\echo :SQLSTATE :LAST_ERROR_MESSAGE\n\
        DELETE moons;\n\\echo :SQLSTATE :LAST_ERROR_MESSAGE\n;\nSELECT -42 ;\n\\conninfo\n";
    let script = "printf '%s' \"$1\" | psql -X -A -h 127.0.0.1 -p 1234 -U ann 2>/dev/null";
    let client = Process::start("sh", ["-c", script, "sh", commands]);
    assert_eq!(
        client.finished().await.succeeded(),
        [
            "?column?",
            "1",
            "(1 row)",
            "planet|moons",
            "Earth|1",
            "Mars|2",
            "Jupiter|95",
            "(3 rows)",
            "42P01 relation \"stars\" does not exist",
            "42601 syntax error at or near \"delete\"",
            "?column?",
            "-42",
            "(1 row)",
            "You are connected to database \"ann\" as user \"ann\" on host \"127.0.0.1\" at port \"1234\".",
        ]
    );
    assert_eq!(stop(server).await, [""; 0]);
}

#[tokio::test]
async fn postgres_tells_in_its_own_terms_what_is_wrong() {
    let error = |severity: &str, state: &str, text: &str| {
        let fields = format!("S{severity}\0V{severity}\0C{state}\0M{text}\0\0");
        let length = u8::try_from(fields.len() + 4).expect("it is short");
        [&[b'E', 0, 0, 0, length], fields.as_bytes()].concat()
    };
    let fatal = |state, text| error("FATAL", state, text);
    let no_statements = error("ERROR", "0A000", "there are no prepared statements");
    let start: &[u8] = b"\0\0\0\x08\0\x03\0\0";
    let started: &[u8] = b"R\0\0\0\x08\0\0\0\0S\0\0\0\x19client_encoding\0UTF8\0\
        S\0\0\0\x18server_version\x0015.0\0Z\0\0\0\x05I";
    let ready: &[u8] = b"Z\0\0\0\x05I";
    let _port = port_1234().await;
    let server = serve("postgres").await;
    for (sent, reply) in [
        // Neither TLS nor Kerberos, a cancel request, and another version.
        (
            &b"\0\0\0\x08\x04\xd2\x16\x2f\0\0\0\x08\x04\xd2\x16\x30"[..],
            b"NN".to_vec(),
        ),
        (b"\0\0\0\x08\x04\xd2\x16\x2e", vec![]),
        (
            b"\0\0\0\x08\0\x02\0\0",
            fatal("0A000", "unsupported frontend protocol"),
        ),
        // Cut, without a length, too large, and a query too early.
        (
            b"\0\0\0\x08\0\x03",
            fatal("08P01", "the connection ended in the middle of a frame"),
        ),
        (b"\0\0\0\x03", fatal("08P01", "invalid message length")),
        (
            b"\xff\xff\xff\xff",
            fatal(
                "08P01",
                "a message of 4294967295 bytes exceeds `max_frame_len` of 8388608 bytes",
            ),
        ),
        (
            b"Q\0\0\0\x0dSELECT 1\0",
            fatal(
                "08P01",
                "a message of 1358954496 bytes exceeds `max_frame_len` of 8388608 bytes",
            ),
        ),
    ] {
        assert_eq!(told(sent).await, reply, "{sent:x?}");
    }
    for (sent, reply) in [
        // No query, one that is cut, one of other bytes, and none after the end.
        (&b"Q\0\0\0\x05\0"[..], [b"I\0\0\0\x04", ready].concat()),
        (
            b"Q\0\0\0\x0dSELEC",
            fatal("08P01", "the connection ended in the middle of a frame"),
        ),
        (
            b"Q\0\0\0\x06\xff\0",
            [
                &error("ERROR", "42601", "syntax error at or near \"\u{fffd}\""),
                ready,
            ]
            .concat(),
        ),
        (b"X\0\0\0\x04Q\0\0\0\x05\0", vec![]),
        // A prepared statement has one error. All messages before the `Sync` are skipped, also another statement and a query.
        (
            b"P\0\0\0\x08\0\0\0\0B\0\0\0\x04P\0\0\0\x08\0\0\0\0E\0\0\0\x04Q\0\0\0\x05\0S\0\0\0\x04",
            [&no_statements, ready].concat(),
        ),
        // The next one has its own, whatever it begins with. A `Flush` is none.
        (
            b"S\0\0\0\x04H\0\0\0\x04E\0\0\0\x04S\0\0\0\x04B\0\0\0\x04X\0\0\0\x04S\0\0\0\x04",
            [ready, &no_statements, ready, &no_statements].concat(),
        ),
        (
            b"Y\0\0\0\x04Q\0\0\0\x05\0",
            fatal("08P01", "invalid message type"),
        ),
        // A second start-up: its type would be 0, and its length 2048.
        (
            b"\0\0\0\x08\0\x03\0\0",
            fatal("08P01", "the connection ended in the middle of a frame"),
        ),
    ] {
        let sent = [start, sent].concat();
        assert_eq!(told(&sent).await, [started, &reply].concat(), "{sent:x?}");
    }
    assert_eq!(stop(server).await, [""; 0]);
}

//! `tcs` with servers and clients that others wrote, and with the examples.

use std::{process::Stdio, time::Duration};

use tcs_tests::{
    process::{Process, connect, is_missing, is_package_missing, port_1234},
    scratch_path, within,
};
use tokio::{net::UnixStream, process::Command, time::interval};

use crate::{Scratch, fails, printed, ran, ran_with, scripted};

const ADDRESS: &str = "127.0.0.1:1234";

/// Starts an example, and waits until it listens.
async fn example(name: &str) -> Process {
    let server = Process::example(name);
    drop(connect(ADDRESS).await);
    server
}

async fn stop(server: Process) {
    server.interrupt().await;
    server.finished().await;
}

#[tokio::test]
async fn examples_are_called() {
    let _port = port_1234().await;
    let server = example("greet_server").await;
    assert_eq!(
        printed(ran(&["call", ADDRESS, "Ann"]).await),
        ["Hello, Ann!"]
    );
    fails(
        &ran(&["call", ADDRESS, "-f", "lines", "Ann"]).await,
        5,
        "leave out --framing",
    );
    stop(server).await;

    let server = example("modbus").await;
    let framing = "length-field(offset=4,width=2)";
    let call = ["call", ADDRESS, "--hex", "-f", framing];
    // Writes 2 registers, and reads 3: the framing fills in the lengths.
    let write = "0001 0000 0000 01 10 0001 0002 04 0005 0006";
    let read = "0002 0000 0000 01 03 0000 0003";
    let file = Scratch::new(&format!("{write}\n{read}\n"));
    let printed_lines = printed(ran(&[&call[..], &["--file", file.path()]].concat()).await);
    assert_eq!(
        printed_lines,
        [
            "00 01 00 00 00 06 01 10 00 01 00 02",
            "00 02 00 00 00 09 01 03 06 00 00 00 05 00 06"
        ]
    );
    stop(server).await;

    let server = example("memcached").await;
    let call = [
        "call",
        ADDRESS,
        "-f",
        "duplex(blocks(word=5),blocks(word=4))",
        "--hex",
    ];
    let set = [
        &call[..],
        &["73657420 6b 20 30 20 30 20 35 0d0a 68656c6c6f"],
    ]
    .concat();
    assert_eq!(printed(ran(&set).await), ["53 54 4f 52 45 44"]);
    let get = [
        "call",
        ADDRESS,
        "-f",
        "duplex(crlf-text,blocks(word=4))",
        "--until",
        "END",
        "get k",
    ];
    assert_eq!(printed(ran(&get).await), ["VALUE k 0 5", "hello", "END"]);
    stop(server).await;

    let server = example("json").await;
    let call = ["call", ADDRESS, "-f", "lines", "--format", "json"];
    let order = [&call[..], &[r#"{"item":"tea","count":2}"#]].concat();
    assert_eq!(
        printed(ran(&order).await),
        [r#"{"Ok":{"item":"tea","cents":500}}"#]
    );
    let order = [&call[..], &[r#"{"item":"tea","count":200}"#]].concat();
    fails(&ran(&order).await, 1, "the reply is an error");
    stop(server).await;
}

#[tokio::test]
async fn redis_is_called() {
    // Without arguments, it would serve.
    let version = std::process::Command::new("redis-server")
        .arg("--version")
        .output();
    if version.is_err() && is_missing("redis-server") {
        return;
    }
    let path = scratch_path("sock");
    let socket = path.to_str().expect("UTF-8");
    let options = ["--port", "0", "--save", "", "--unixsocket", socket];
    let server = Process::start("redis-server", options);
    let mut tries = interval(Duration::from_millis(10));
    within(async {
        while UnixStream::connect(&path).await.is_err() {
            tries.tick().await;
        }
    })
    .await;
    let address = format!("unix:{socket}");
    let call = ["call", &address, "-f", "resp"];
    let lines = b"SET key hello\nGET key\nRPUSH list a b\nLRANGE list 0 -1\nINCR n\nGET none\n";
    assert_eq!(
        printed(ran_with(&call, lines).await),
        [
            "+OK", "$5", "hello", ":2", "*2", "$1", "a", "$1", "b", ":1", "$-1"
        ]
    );
    let array = [&call[..], &["--hex", "2a310d0a24340d0a50494e47"]].concat();
    assert_eq!(printed(ran(&array).await), ["2b 50 4f 4e 47"]);
    let failed = [&call[..], &["--fail-on", "-", "INCR key"]].concat();
    fails(&ran(&failed).await, 1, "the reply is an error");
    let many = [&call[..], &["--repeat", "1000", "--pipeline", "50", "PING"]].concat();
    assert_eq!(printed(ran(&many).await), ["+PONG"; 1_000]);
    // A push: what is published reaches the one that subscribes.
    let framed = [&call[..], &["--follow", "SUBSCRIBE news"]].concat();
    let mut subscriber = crate::tcs(&framed);
    for expected in ["*3", "$9", "subscribe", "$4", "news", ":1"] {
        assert_eq!(subscriber.line().await, expected);
    }
    assert_eq!(
        printed(ran(&[&call[..], &["PUBLISH news x"]].concat()).await),
        [":1"]
    );
    for expected in ["*3", "$7", "message", "$4", "news", "$1", "x"] {
        assert_eq!(subscriber.line().await, expected);
    }
    server.interrupt().await;
    server.finished().await;
    assert_eq!(printed(subscriber.finished().await.into()), [""; 0]);
}

#[tokio::test]
async fn script_is_a_mail_server_for_smtplib() {
    if is_missing("python3") {
        return;
    }
    let script = "send 220 mail.example\n\
        expect-start ehlo\nsend 250-mail.example\\n250 SIZE 1000\n\
        expect-start mail FROM:<ann@example.org>\nsend 250 ok\n\
        expect rcpt TO:<bob@example.org>\nsend 550 no such user\n\
        expect rset\nsend 250 ok\n\
        expect quit\nsend 221 bye\nexpect-end";
    let peer = scripted(script, &["-f", "crlf-text"]).await;
    let port = peer.address.rsplit(':').next().expect("a port");
    let client = "import smtplib, sys\n\
        client = smtplib.SMTP('127.0.0.1', int(sys.argv[1]), timeout=30)\n\
        try:\n    client.sendmail('ann@example.org', ['bob@example.org'], 'Subject: x\\n\\nHello')\n\
        except smtplib.SMTPRecipientsRefused as error:\n    print(error.recipients)\n\
        client.quit()\n";
    let client = Process::start("python3", ["-c", client, port]);
    let refused = "{'bob@example.org': (550, b'no such user')}";
    assert_eq!(client.finished().await.succeeded(), [refused]);
    peer.followed().await;
}

#[tokio::test]
async fn mail_server_of_aiosmtpd_is_called() {
    if is_package_missing("aiosmtpd") {
        return;
    }
    let server = "import asyncio\n\
        from aiosmtpd.smtp import SMTP\n\
        from aiosmtpd.handlers import Debugging\n\
        async def main():\n\
        \x20   loop = asyncio.get_running_loop()\n\
        \x20   make = lambda: SMTP(Debugging(), hostname='mail.example')\n\
        \x20   server = await loop.create_server(make, '127.0.0.1', 0)\n\
        \x20   print(server.sockets[0].getsockname()[1], flush=True)\n\
        \x20   await server.serve_forever()\n\
        asyncio.run(main())\n";
    let mut command = Command::new("python3");
    let mut server = Process::run(command.args(["-c", server]).stdin(Stdio::null()));
    let address = format!("127.0.0.1:{}", server.line().await);
    let call = [
        "call",
        &address,
        "-f",
        "duplex(crlf-text,code-lines)",
        "--greeting",
        "--fail-on",
        "5",
    ];
    let mail = b"HELO me\nMAIL FROM:<ann@example.org>\nRCPT TO:<bob@example.org>\nQUIT\n";
    let lines = printed(ran_with(&call, mail).await);
    let codes: Vec<&str> = lines.iter().filter_map(|line| line.get(..4)).collect();
    assert_eq!(codes, ["220 ", "250 ", "250 ", "250 ", "221 "], "{lines:?}");
    let hello = printed(ran_with(&call, b"EHLO me\nQUIT\n").await);
    assert!(
        hello.iter().any(|line| line.starts_with("250-")),
        "{hello:?}"
    );
    let failed = ran_with(&call, b"BOGUS\nQUIT\n").await;
    fails(&failed, 1, "the reply to request 1 is an error");
    assert_eq!(failed.stdout.len(), 3, "{failed:?}");
    server.signal("TERM").await;
    server.finished().await;
}

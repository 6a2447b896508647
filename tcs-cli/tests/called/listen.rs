//! `tcs listen`: peers that follow a script, and clients that do not.

use tcs_tests::{RawPeer, frame, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{Scratch, fails, printed, ran, scripted, tcs};

#[tokio::test]
async fn each_step_is_what_it_says() {
    let script = "# what a client must do\n\
        expect-start he\nsend one\\ntwo\nexpect-any\nexpect-until end\nsend-hex 00 ff\n\
        reject error no\nexpect-bytes raw\\x00\nsend-bytes \\x80\npause 1ms\nhalf-close\nexpect-end\naccept\nexpect again";
    let peer = scripted(script, &[]).await;
    let address = peer.address.parse().expect("an address");
    let mut client = RawPeer::connect(address).await;
    client.send(frame("hello")).await;
    assert_eq!(client.receive(11).await, frame("one\ntwo"));
    for message in ["any", "1", "2", "end"] {
        client.send(frame(message)).await;
    }
    assert_eq!(client.receive(6).await, frame([0, 255]));
    assert_eq!(client.receive(7).await, tcs_tests::control(1, "no"));
    client.send("raw\0").await;
    assert_eq!(client.rest().await, [0x80]);
    client.finish().await;
    drop(client);
    let mut client = RawPeer::connect(address).await;
    client.send(frame("again")).await;
    assert_eq!(client.rest().await, b"");
    drop(client);
    peer.followed().await;
}

#[tokio::test]
async fn client_that_does_something_else_is_told_with_the_line() {
    for (script, sent, code, said) in [
        (
            "expect Ann",
            "Bob",
            1,
            "line 1: expected `Ann`, but `Bob` arrived",
        ),
        (
            "\n\nexpect-hex 00 01",
            "x",
            1,
            "line 3: expected `\\u{0}\\u{1}`",
        ),
        (
            "expect-start An",
            "Bob",
            1,
            "expected a start with `An`, but `Bob` arrived",
        ),
        (
            "expect Bob\nexpect Ann",
            "Bob",
            1,
            "line 2: expected `Ann`, but the client closed",
        ),
        (
            "expect-bytes \\x00\\x00\\x00\\x03Ann",
            "Bob",
            1,
            "line 1: expected",
        ),
        (
            "expect-end",
            "Bob",
            1,
            "line 1: expected the end, but `Bob` arrived\n",
        ),
        (
            "expect-end",
            "",
            1,
            "line 1: expected the end, but an empty message arrived\n",
        ),
        (
            "expect-bytes \\x00\\x00\\x00\\x04Ann",
            "",
            1,
            "line 1: expected `\\u{0}\\u{0}\\u{0}\\u{4}Ann`, but `\\u{0}\\u{0}\\u{0}\\u{0}` arrived\n",
        ),
    ] {
        let peer = scripted(script, &[]).await;
        let mut client = RawPeer::connect(peer.address.parse().expect("an address")).await;
        client.send(frame(sent)).await;
        client.finish().await;
        fails(&peer.ended().await, code, said);
    }
    for (bytes, said) in [
        (
            &[0x80, 0, 0, 0][..],
            "line 1: what arrived is not of the framing",
        ),
        (
            &[0x7f, 0xff, 0xff, 0xff],
            "line 1: what arrived is not of the framing",
        ),
    ] {
        let peer = scripted("expect Ann", &[]).await;
        let mut client = RawPeer::connect(peer.address.parse().expect("an address")).await;
        client.send(bytes).await;
        fails(&peer.ended().await, 1, said);
    }
    let peer = scripted("expect Ann", &["-f", "netstrings", "--timeout", "5s"]).await;
    let mut client = RawPeer::connect(peer.address.parse().expect("an address")).await;
    client.send("9000000:").await;
    fails(&peer.ended().await, 1, "line 1: a message of 9000000 bytes");
    let peer = scripted("expect Ann", &[]).await;
    let client = TcpStream::connect(&peer.address).await.expect("it listens");
    client.set_zero_linger().expect("a socket");
    drop(client);
    fails(
        &peer.ended().await,
        1,
        "line 1: the client has closed the connection",
    );

    let peer = scripted("expect Ann", &["--timeout", "50ms"]).await;
    let client = RawPeer::connect(peer.address.parse().expect("an address")).await;
    fails(
        &peer.ended().await,
        4,
        "line 1: the client did nothing within 50ms",
    );
    drop(client);
}

#[tokio::test]
async fn reset_and_stall_are_seen_by_the_client() {
    let peer = scripted("expect Ann\nreset", &[]).await;
    let mut client = TcpStream::connect(&peer.address).await.expect("it listens");
    within(client.write_all(&frame("Ann")))
        .await
        .expect("it reads");
    let error = within(client.read(&mut [0])).await.expect_err("no end");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    peer.followed().await;
}

#[tokio::test]
async fn json_is_compared_by_value() {
    let script = "expect {\"a\": 1, \"b\": [2]}\nsend {\"ok\": true}";
    for format in ["json", "messagepack"] {
        let peer = scripted(script, &["--format", format]).await;
        let arguments = [
            "call",
            &peer.address,
            "--format",
            format,
            r#"{"b":[2],"a":1}"#,
        ];
        assert_eq!(printed(ran(&arguments).await), [r#"{"ok":true}"#]);
        peer.followed().await;
    }
}

#[tokio::test]
async fn echo_and_reply_serve_every_connection() {
    for (does, expected) in [(&["--echo"][..], "Ann"), (&["--reply", "ok\\x21"], "ok!")] {
        let mut server =
            tcs(&[&["listen", "--connections", "2", "-f", "multiplexed"], does].concat());
        let line = server.line().await;
        let address = line.strip_prefix("listening on ").expect("it says where");
        for _ in 0..2 {
            let arguments = [
                "call",
                address,
                "-f",
                "multiplexed",
                "--repeat",
                "3",
                "--pipeline",
                "3",
                "Ann",
            ];
            assert_eq!(printed(ran(&arguments).await), [expected; 3]);
        }
        assert_eq!(printed(server.finished().await.into()), [""; 0]);
    }
}

#[tokio::test]
async fn wrong_scripts_are_told() {
    for (script, said) in [
        ("send a\nexspect b", "line 2: `exspect b` is not a step"),
        ("reject maybe", "`maybe` is not a kind of rejection"),
        ("", "the script has no steps"),
    ] {
        let file = Scratch::new(script);
        fails(&ran(&["listen", "--script", file.path()]).await, 2, said);
    }
    fails(
        &ran(&["listen", "--script", "/nowhere"]).await,
        2,
        "cannot read /nowhere",
    );
    fails(
        &ran(&["listen"]).await,
        2,
        "--script <FILE>|--echo|--reply <TEXT>",
    );
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = taken.local_addr().expect("it listens").to_string();
    fails(
        &ran(&["listen", "--echo", &address]).await,
        3,
        "choose another port",
    );

    let peer = scripted("expect a\nreject busy later", &["-f", "lines"]).await;
    let client = ran(&["call", &peer.address, "-f", "lines", "a"]).await;
    fails(&client, 6, "without a reply");
    fails(
        &peer.ended().await,
        2,
        "line 2: the framing lines has no rejections",
    );
}

#[cfg(unix)]
#[tokio::test]
async fn server_goes_on_after_it_could_not_accept() {
    let mut command = tokio::process::Command::new("sh");
    let script = "ulimit -n 16; exec \"$0\" listen --echo 2>&1";
    command.args(["-c", script, env!("CARGO_BIN_EXE_tcs")]);
    let mut server = tcs_tests::process::Process::run(&mut command);
    let line = server.line().await;
    let address = line.strip_prefix("listening on ").expect("it says where");
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(TcpStream::connect(address).await);
    }
    let complaint = "tcs: cannot accept a connection: ";
    while !server.line().await.starts_with(complaint) {}
    drop(clients);
    assert_eq!(printed(ran(&["call", address, "Ann"]).await), ["Ann"]);
}

#[tokio::test]
async fn more_than_the_one_exchange_is_no_end() {
    let framing = ["-f", "duplex(lines,until-eof)"];
    for (sent, rest) in [("Ann\n", ""), ("Ann\nBob\n", "Bob")] {
        let peer = scripted("expect Ann\nexpect-end", &framing).await;
        let mut client = RawPeer::connect(peer.address.parse().expect("an address")).await;
        client.send(sent).await;
        client.finish().await;
        if rest.is_empty() {
            peer.followed().await;
        } else {
            let said = "line 2: expected the end, but `Bob\\n` arrived";
            fails(&peer.ended().await, 1, said);
        }
    }
}

#[tokio::test]
async fn requests_are_shown_as_the_options_say() {
    for (view, shown) in [(&[][..], "`Ann\\n`"), (&["--hex"], "`41 6e 6e 0a`")] {
        let arguments = ["listen", "--echo", "-v", "--connections", "1"];
        let mut server = tcs(&[&arguments[..], view].concat());
        let line = server.line().await;
        let address = line.strip_prefix("listening on ").expect("it says where");
        assert_eq!(
            printed(ran(&["call", address, "--hex", "416e6e0a"]).await),
            ["41 6e 6e 0a"]
        );
        let said = server.finished().await.stderr;
        assert_eq!(said, format!("tcs: request: {shown}\n"));
    }
}

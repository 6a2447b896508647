//! Servers of existing protocols, with clients that others wrote.

use tcs_tests::{
    process::{Process, ask, connect, is_missing, is_package_missing, port_1234},
    within,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::serving::{ADDRESS, serve, stop, told};

/// Returns all that a server says to a peer that sends this and closes its half.
async fn said_to(request: &str) -> String {
    ask(connect(ADDRESS).await, request).await
}

#[tokio::test]
async fn memcached_serves_pymemcache() {
    if is_package_missing("pymemcache") {
        return;
    }
    let _port = port_1234().await;
    let server = serve("memcached").await;
    let client = Process::python("memcached_client.py", ["1234"]);
    assert_eq!(
        client.finished().await.succeeded(),
        [
            r"True b'one\r\nEND\r\n' None",
            "False True False",
            "[] 2",
            "b'' True",
            "True 42 0 None",
            "True False b'1.6.0'",
            "b'x'",
            "True 900000",
            "b'object too large for cache'",
            "b'cannot increment or decrement non-numeric value'",
            "True None",
        ]
    );
    assert_eq!(stop(server).await, [""; 0]);
}

#[tokio::test]
async fn memcached_passes_the_ascii_tests_of_memccapable() {
    if is_missing("memccapable") {
        return;
    }
    let _port = port_1234().await;
    let server = serve("memcached").await;
    let arguments = ["-a", "-h", "127.0.0.1", "-p", "1234", "-t", "30"];
    let tests = Process::start("memccapable", arguments).finished().await;
    let outcomes: Vec<_> = tests
        .stdout
        .iter()
        .filter_map(|line| line.split_once('['))
        .map(|(name, outcome)| (name.trim(), outcome.trim_end_matches(']')))
        .collect();
    assert_eq!(outcomes.len(), 27, "{tests:?}");
    let has_passed = outcomes.iter().all(|(_, outcome)| *outcome == "pass");
    assert!(has_passed && tests.status.success(), "{tests:?}");
    assert_eq!(stop(server).await, [""; 0]);
}

#[tokio::test]
async fn memcached_tells_in_its_own_terms_what_is_wrong() {
    let _port = port_1234().await;
    let server = serve("memcached").await;
    for (sent, told) in [
        (
            "get\r\nset\r\nget none\n",
            "ERROR\r\nCLIENT_ERROR bad command line format\r\nEND\r\n",
        ),
        (
            "set k 0 0 x\r\n",
            "CLIENT_ERROR bad command line format\r\n",
        ),
        (
            "set k x 0 1\r\na\r\n",
            "CLIENT_ERROR bad command line format\r\n",
        ),
        (
            "set k 0 0 1 noreply\r\na\r\nget k\r\n",
            "VALUE k 0 1\r\na\r\nEND\r\n",
        ),
        (
            "set k 0 0 1\r\nab\r\n",
            "SERVER_ERROR a block of 1 bytes without `\\r\\n` after it\r\n",
        ),
        (
            "set k 0 0 5\r\nab",
            "SERVER_ERROR the connection ended in the middle of a frame\r\n",
        ),
        (
            "set k 0 0 18446744073709551615\r\n",
            "SERVER_ERROR a message of 18446744073709551615 bytes exceeds `max_frame_len` of 1048576 bytes\r\n",
        ),
        ("version\r\nquit\r\nversion\r\n", "VERSION 1.6.0\r\n"),
        // Who asks for no reply gets none to what is rejected, either.
        ("set k 0 0 1 noreply\r\nab\r\n", ""),
        ("set k 0 0 18446744073709551615 noreply\r\n", ""),
        // A value that another client has changed, one that is gone, and no version.
        (
            "set k 3 0 1\r\na\r\ncas k 0 0 1 1\r\nb\r\ncas none 0 0 1 1\r\nb\r\ncas k 0 0 1\r\nb\r\nget k\r\n",
            "STORED\r\nEXISTS\r\nNOT_FOUND\r\nCLIENT_ERROR bad command line format\r\n\
            VALUE k 3 1\r\na\r\nEND\r\n",
        ),
        (
            "append k 0 0 1\r\nb\r\nprepend k 0 0 1\r\nc\r\nget k\r\ntouch k 0\r\ntouch none 0\r\n",
            "STORED\r\nSTORED\r\nVALUE k 3 3\r\ncab\r\nEND\r\nTOUCHED\r\nNOT_FOUND\r\n",
        ),
        (
            "get noreply\r\nstats\r\n",
            "END\r\nSTAT curr_items 1\r\nEND\r\n",
        ),
    ] {
        assert_eq!(said_to(sent).await, told, "{sent}");
    }
    // A line may name a large value often, and gets no more than the limit at once.
    let value = "x".repeat(1_000_000);
    let set = format!("set large 0 0 1000000\r\n{value}\r\n");
    assert_eq!(said_to(&set).await, "STORED\r\n");
    let few = said_to(&format!("get{}\r\n", " large".repeat(8))).await;
    let found = format!("VALUE large 0 1000000\r\n{value}\r\n");
    assert_eq!(few, format!("{}END\r\n", found.repeat(8)));
    for verb in ["get", "gets"] {
        let many = said_to(&format!("{verb}{}\r\nversion\r\n", " large".repeat(20))).await;
        assert_eq!(
            many,
            "SERVER_ERROR out of memory writing get response\r\nVERSION 1.6.0\r\n"
        );
    }
    // A key that is not UTF-8 is a bad request, after which the connection goes on.
    assert_eq!(
        told(b"delete \xff\r\ndelete \xff noreply\r\nversion\r\n").await,
        b"CLIENT_ERROR invalid utf-8 sequence of 1 bytes from index 7\r\nVERSION 1.6.0\r\n"
    );
    assert_eq!(stop(server).await, [""; 0]);
}

#[tokio::test]
async fn smtp_serves_smtplib_over_tls_and_pipelined() {
    if is_missing("python3") {
        return;
    }
    let _port = port_1234().await;
    let mut server = Process::example("smtp");
    let roots = server.line().await;
    drop(connect(ADDRESS).await);
    let client = Process::python("smtp_session.py", ["1234", &roots]);
    assert_eq!(
        client.finished().await.succeeded(),
        [
            "250 mail.example|PIPELINING|8BITMIME|STARTTLS",
            "503 not now",
            "500 there is no such command",
            "250 ok",
            "501 it has the form `MAIL FROM:<path>` or `RCPT TO:<path>`",
            "220 go ahead",
            "250 mail.example|PIPELINING|8BITMIME",
            "503 not now",
            "{}",
            "250 ok",
            "250 ok",
            "354 end it with a line of a single dot",
            "250 taken",
            "250 ok",
            "221 goodbye",
        ]
    );
    assert_eq!(
        stop(server).await,
        [
            r#"from "ann@a.example" to ["bob@b.example", "zoe@z.example"]: "Subject: dots\r\n\r\n.one\r\n..two\r\n.\r\nthe end\r\n""#,
            "from \"ann@a.example\" to [\"bob@b.example\"]: \"grüße\\r\\n\"",
        ]
    );
}

#[tokio::test]
async fn smtp_tells_in_its_own_terms_what_is_wrong() {
    let _port = port_1234().await;
    let mut server = Process::example("smtp");
    server.line().await;
    drop(connect(ADDRESS).await);
    let begun = "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n";
    let greeting = "220 mail.example ESMTP\r\n";
    let replies = "250 ok\r\n250 ok\r\n354 end it with a line of a single dot\r\n";
    for (sent, told) in [
        (
            "HELO me\nRCPT TO:<c@d>\n".to_owned(),
            "250 mail.example\r\n503 not now\r\n".to_owned(),
        ),
        (
            format!("{begun}half of a mail\r\n.\n"),
            format!("{replies}421 the connection ended in the middle of a frame\r\n"),
        ),
        (
            format!("{begun}{}\r\n.\r\nQUIT\r\n", "x".repeat(1 << 20)),
            format!(
                "{replies}421 a message of 1048578 bytes exceeds `max_frame_len` of 1048576 bytes\r\n"
            ),
        ),
        // A greeting forgets the mail before it, and what is printed is escaped.
        (
            "MAIL FROM:<a@b>\r\nEHLO me\r\nRCPT TO:<c@d>\r\nMAIL FROM:<e@\x1b[31m>\r\nRCPT TO:<g@h>\r\nDATA\r\nx\r\n.\r\n".to_owned(),
            format!("250 ok\r\n250-mail.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 STARTTLS\r\n503 not now\r\n{replies}250 taken\r\n"),
        ),
        // Recipients are limited, and what is given up makes room.
        (
            format!(
                "MAIL FROM:<a@b>\r\n{}RSET\r\nMAIL FROM:<{}>\r\nMAIL FROM:<{}>\r\nRCPT TO:<c@d>\r\n",
                "RCPT TO:<c@d>\r\n".repeat(102),
                "x".repeat(255),
                "x".repeat(254),
            ),
            format!(
                "{}{}250 ok\r\n501 the path is too long\r\n250 ok\r\n250 ok\r\n",
                "250 ok\r\n".repeat(101),
                "452 too many recipients\r\n".repeat(2),
            ),
        ),
        // What is smuggled stays in the mail.
        (
            format!("{begun}one\n.\nMAIL FROM:<x@y>\r\n.\r\nQUIT\r\n"),
            format!("{replies}250 taken\r\n221 goodbye\r\n"),
        ),
    ] {
        assert_eq!(said_to(&sent).await, format!("{greeting}{told}"));
    }
    let printed = stop(server).await;
    assert_eq!(
        printed,
        [
            r#"from "e@\u{1b}[31m" to ["g@h"]: "x\r\n""#,
            r#"from "a@b" to ["c@d"]: "one\n.\nMAIL FROM:<x@y>\r\n""#,
        ]
    );
}

#[tokio::test]
async fn jsonrpc_serves_the_client_of_a_language_server() {
    if is_package_missing("pylsp_jsonrpc") {
        return;
    }
    let _port = port_1234().await;
    let server = serve("jsonrpc").await;
    let client = Process::python("jsonrpc_client.py", ["1234"]).finished();
    assert_eq!(
        client.await.stdout,
        [
            "42 500 quick slow",
            "-32602 invalid parameters",
            "-32601 there is no such method",
            "-32000 the sum is too large",
        ]
    );
    let framed = |json: &str| format!("Content-Length: {}\r\n\r\n{json}", json.len());
    let told = said_to(&framed("{")).await;
    let error = r#"{"error":{"code":-32700,"message":"#;
    assert!(told.contains(error), "{told}");
    assert!(told.ends_with(r#"},"id":null,"jsonrpc":"2.0"}"#), "{told}");
    let told = said_to(&framed(r#"{"id":"x","method":7}"#)).await;
    assert!(
        told.contains(r#"{"error":{"code":-32600,"message":"#),
        "{told}"
    );
    assert!(told.ends_with(r#"},"id":"x","jsonrpc":"2.0"}"#), "{told}");
    // What is skipped has an error of its own, and the next request its reply.
    let large = framed(&"x".repeat((8 << 20) + 1));
    let next = framed(r#"{"id":7,"method":"add","params":[1,2]}"#);
    let told = said_to(&[large, next].concat()).await;
    assert!(
        told.contains("exceeds `max_frame_len` of 8388608 bytes"),
        "{told}"
    );
    assert!(
        told.ends_with(r#"{"id":7,"jsonrpc":"2.0","result":3}"#),
        "{told}"
    );
    for wrong in [
        "Content-Length: 9\r\n\r\n{",
        "Content-Length: x\r\n\r\n",
        "Content-Length: 18446744073709551615\r\n\r\n",
        "A: 1\r\n\r\n",
    ] {
        let told = said_to(wrong).await;
        assert!(told.contains(error), "{told}");
    }
    assert_eq!(stop(server).await, [""; 0]);
}

/// Serves one request of HTTP.
async fn serve_http(listener: TcpListener, body: Vec<u8>) {
    let (mut stream, _) = listener.accept().await.expect("a client");
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_buf(&mut request).await.expect("a request");
    }
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let reply = [head.as_bytes(), &body].concat();
    stream.write_all(&reply).await.expect("it reads");
}

#[tokio::test]
async fn socks5_carries_300_kb_to_curl() {
    if is_missing("curl") {
        return;
    }
    let _port = port_1234().await;
    let server = serve("socks5").await;
    for (proxy, target) in [("socks5", "127.0.0.1"), ("socks5h", "localhost")] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let body = "a line of 30 bytes of the body\n".repeat(10_000);
        let serving = tokio::spawn(serve_http(listener, body.clone().into_bytes()));
        let proxy = format!("{proxy}://127.0.0.1:1234");
        let url = format!("http://{target}:{port}/");
        let curl = Process::start("curl", ["-sS", "--proxy", &proxy, &url]);
        let printed = curl.finished().await.succeeded();
        assert!(printed.iter().eq(body.lines()), "{} lines", printed.len());
        within(serving).await.expect("no panic");
        // Nobody listens there any more.
        let curl = Process::start("curl", ["-sS", "--proxy", &proxy, &url]);
        let finished = curl.finished().await;
        assert_eq!(finished.status.code(), Some(97), "{finished:?}");
    }
    for (sent, reply) in [
        ("\u{5}\u{1}\u{2}", &b"\x05\xff"[..]),
        (
            "\u{5}\u{1}\0\u{5}\u{2}\0\u{1}abcdef",
            b"\x05\0\x05\x07\0\x01\0\0\0\0\0\0",
        ),
        (
            "\u{5}\u{1}\0\u{5}\u{1}\0\u{2}",
            b"\x05\0\x05\x08\0\x01\0\0\0\0\0\0",
        ),
        ("\u{5}\u{1}\0\u{5}\u{1}", b"\x05\0"),
        ("\u{4}\u{1}", b""),
        // A request before the greeting: its command is read as a number of logins, of which none is known.
        ("\u{5}\u{1}\u{1}\u{3}", b"\x05\xff"),
        ("\u{5}\u{1}\0\u{1}abcd\0P", b"\x05\0"),
        ("\u{5}\0", b"\x05\xff"),
        // A greeting in place of the request, a name that is cut, and nobody with this name.
        ("\u{5}\u{1}\0\u{4}\u{1}\0\u{1}", b"\x05\0"),
        ("\u{5}\u{1}\0\u{5}\u{1}\0\u{3}\u{9}abc", b"\x05\0"),
        (
            "\u{5}\u{1}\0\u{5}\u{1}\0\u{3}\0\0P",
            b"\x05\0\x05\x04\0\x01\0\0\0\0\0\0",
        ),
    ] {
        assert_eq!(told(sent.as_bytes()).await, reply, "{sent:?}");
    }
    assert_eq!(stop(server).await, [""; 0]);
}

#[tokio::test]
async fn irc_carries_messages_between_two_clients() {
    if is_package_missing("irc") {
        return;
    }
    let _port = port_1234().await;
    let server = serve("irc").await;
    let client = Process::python("irc_client.py", ["1234"]);
    assert_eq!(
        client.finished().await.succeeded(),
        [
            "ann welcome tcs ann welcome",
            "ann join ann!ann@tcs #tea",
            "ann join bob!bob@tcs #tea",
            "ann pubmsg bob!bob@tcs #tea hello there",
            "ann unknowncommand tcs ann WHO unknown command",
            "ann part bob!bob@tcs #tea",
            "ann pong tcs tcs token",
            "bob welcome tcs bob welcome",
            "bob join bob!bob@tcs #tea",
            "bob part bob!bob@tcs #tea",
        ]
    );
    let refused = said_to("JOIN #tea\nNICK zoe\nUSER zoe\nQUIT\nNICK late\n").await;
    assert_eq!(
        refused,
        ":tcs 451 * :say NICK and USER first\r\n:tcs 001 zoe :welcome\r\n\
         :tcs 422 zoe :no message of the day\r\nERROR :goodbye\r\n"
    );
    for (sent, reply) in [
        (
            &b"NICK"[..],
            "ERROR :the connection ended in the middle of a frame\r\n",
        ),
        // What follows a line beyond the limit is no line.
        (
            &[&vec![b'x'; (8 << 20) + 1][..], b"\nNICK zoe\n"].concat(),
            "ERROR :a message of 8388609 bytes exceeds `max_frame_len` of 8388608 bytes\r\n",
        ),
        // A colon before the last word.
        (
            b"NICK :zoe\r\nUSER :zo\r\nJOIN :#tea\r\n\r\n",
            ":tcs 001 zoe :welcome\r\n:tcs 422 zoe :no message of the day\r\n\
             :zoe!zo@tcs JOIN #tea\r\n:tcs 366 zoe #tea :end of names\r\n",
        ),
        // What others would read as something else is no name.
        (
            b"NICK ::zoe\nNICK :zoe and zack\nNICK zoe!x@y\nUSER :zo zack\nNICK zoe\nUSER ::zo\nUSER zo\nJOIN :#tea :cup\n",
            ":tcs 432 * :this is no name\r\n:tcs 432 * :this is no name\r\n\
             :tcs 432 * :this is no name\r\n:tcs 432 * :this is no name\r\n\
             :tcs 432 * :this is no name\r\n\
             :tcs 001 zoe :welcome\r\n:tcs 422 zoe :no message of the day\r\n\
             :tcs 421 zoe JOIN :unknown command\r\n",
        ),
        (
            b"NICK :zoe\rUSER zoe\nNICK zoe\nUSER zo\nJOIN #tea\nPART #tea\rQUIT\n",
            ":tcs 432 * :this is no name\r\n\
             :tcs 001 zoe :welcome\r\n:tcs 422 zoe :no message of the day\r\n\
             :zoe!zo@tcs JOIN #tea\r\n:tcs 366 zoe #tea :end of names\r\n:zoe!zo@tcs PART #tea\r\n",
        ),
        // Latin-1 is read, and sent as UTF-8.
        (
            b"NICK J\xfcrgen\nUSER a\n",
            ":tcs 001 J\u{fc}rgen :welcome\r\n:tcs 422 J\u{fc}rgen :no message of the day\r\n",
        ),
    ] {
        let told = told(sent).await;
        // If the end of a long line has not arrived yet, its length is not known.
        let told = String::from_utf8_lossy(&told).replace("at least ", "");
        assert_eq!(told, reply);
    }
    assert_eq!(stop(server).await, [""; 0]);
}

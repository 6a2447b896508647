//! Servers of existing protocols, with clients that others wrote.

use std::path::Path;

use tcs_tests::process::{Process, ask, connect, is_missing, is_python_module_missing, port_1234};

const ADDRESS: (&str, u16) = ("127.0.0.1", 1234);

/// Starts an example, and waits until it listens.
async fn serve(name: &str) -> Process {
    let server = Process::example(name);
    drop(connect(ADDRESS).await);
    server
}

async fn stop(server: Process) -> Vec<String> {
    server.interrupt().await;
    server.finished().await.succeeded()
}

/// Returns all that a server says to a peer that sends this and closes its half.
async fn said_to(request: &str) -> String {
    ask(connect(ADDRESS).await, request).await
}

#[tokio::test]
async fn memcached_serves_pymemcache() {
    if is_python_module_missing("pymemcache") {
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
    ] {
        assert_eq!(said_to(sent).await, told, "{sent}");
    }
    assert_eq!(stop(server).await, [""; 0]);
}

#[tokio::test]
async fn smtp_serves_smtplib_over_tls_and_pipelined() {
    if is_missing("python3") {
        return;
    }
    let _port = port_1234().await;
    let mut server = Process::example("smtp");
    let roots = Path::new(&server.line().await).join("cert.pem");
    drop(connect(ADDRESS).await);
    let client = Process::python("smtp_session.py", ["1234", &roots.display().to_string()]);
    assert_eq!(
        client.finished().await.succeeded(),
        [
            "250 mail.example|PIPELINING|8BITMIME|STARTTLS",
            "503 not now",
            "500 there is no command \"EXPN\"",
            "250 ok",
            "503 not now",
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
            "from ann@a.example to bob@b.example, zoe@z.example:",
            "Subject: dots",
            "",
            ".one",
            "..two",
            ".",
            "the end",
            "from ann@a.example to bob@b.example:",
            "gr\u{fffd}\u{fffd}e",
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
        // What is smuggled stays in the mail.
        (
            format!("{begun}one\n.\nMAIL FROM:<x@y>\r\n.\r\nQUIT\r\n"),
            format!("{replies}250 taken\r\n221 goodbye\r\n"),
        ),
    ] {
        assert_eq!(said_to(&sent).await, format!("{greeting}{told}"));
    }
    let printed = stop(server).await;
    assert_eq!(printed, ["from a@b to c@d:", "one", ".", "MAIL FROM:<x@y>"]);
}

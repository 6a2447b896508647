//! Clients of existing protocols, with servers that others wrote, and with ours.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tcs_tests::{
    process::{Process, connect, example_path, is_missing, is_package_missing, port_1234},
    scratch_path, within,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

const ADDRESS: (&str, u16) = ("127.0.0.1", 1234);

/// A mail whose lines are as hard as can be: dots, an end in the middle, and a command.
const MAIL: &str = "Subject: dots\n\n.one\n..two\n.\nQUIT\n\nthe end\n";

/// A file with this mail.
fn mail(text: &str) -> PathBuf {
    let path = scratch_path("txt");
    fs::write(&path, text).expect("a new file");
    path
}

/// Starts the client with a mail from Ann to these.
fn send(mail: &Path, receivers: &[&str]) -> Process {
    let mut arguments = vec![mail.as_os_str(), "ann@a.example".as_ref()];
    arguments.extend(receivers.iter().map(AsRef::<std::ffi::OsStr>::as_ref));
    Process::start(example_path("smtp_client"), arguments)
}

/// Sends the mail to two, which succeeds. Returns what was printed.
async fn sent() -> Vec<String> {
    let path = mail(MAIL);
    let client = send(&path, &["bob@b.example", "zoe@z.example"]);
    let printed = client.finished().await.succeeded();
    fs::remove_file(path).expect("it is there");
    printed
}

async fn stop(server: Process) -> Vec<String> {
    server.interrupt().await;
    server.finished().await.succeeded()
}

/// What a server prints of the mail.
fn taken() -> Vec<String> {
    let mut lines = vec!["from ann@a.example to bob@b.example, zoe@z.example:".to_owned()];
    lines.extend(MAIL.lines().map(str::to_owned));
    lines
}

#[tokio::test]
async fn smtp_client_sends_a_mail_to_our_server() {
    let _port = port_1234().await;
    let mut server = Process::example("smtp");
    server.line().await;
    drop(connect(ADDRESS).await);
    assert_eq!(
        sent().await,
        [
            "220 mail.example ESMTP",
            "250-mail.example",
            "250-PIPELINING",
            "250-8BITMIME",
            "250 STARTTLS",
            "250 ok",
            "250 ok",
            "250 ok",
            "354 end it with a line of a single dot",
            "250 taken",
            "221 goodbye",
        ]
    );
    let path = mail("hello\n");
    for (receivers, reply) in [
        (&["bob@b.example>\r\nRSET"][..], "line end"),
        (&[], "503 not now"),
    ] {
        let refused = send(&path, receivers).finished().await;
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(refused.stderr.contains(reply), "{refused:?}");
    }
    fs::remove_file(path).expect("it is there");
    let text = MAIL.replace('\n', "\r\n");
    let receivers = ["bob@b.example", "zoe@z.example"];
    let taken = format!("from \"ann@a.example\" to {receivers:?}: {text:?}");
    assert_eq!(stop(server).await, [taken]);
}

#[tokio::test]
async fn smtp_client_sends_a_mail_to_aiosmtpd() {
    if is_package_missing("aiosmtpd") {
        return;
    }
    let _port = port_1234().await;
    let mut server = Process::python("smtp_server.py", ["1234"]);
    assert_eq!(server.line().await, "ready");
    assert_eq!(
        sent().await,
        [
            "220 mail.example SMTP",
            "250-mail.example",
            "250-SIZE 33554432",
            "250-8BITMIME",
            "250-SMTPUTF8",
            "250 HELP",
            "250 OK",
            "250 OK",
            "250 OK",
            "354 End data with <CR><LF>.<CR><LF>",
            "250 taken",
            "221 Bye",
        ]
    );
    assert_eq!(stop(server).await, taken());
}

/// Publishes a text, and waits until the broker has sent it to those who have subscribed.
async fn publish(broker: &mut TcpStream, topic: &str, text: &str) {
    let length = u8::try_from(topic.len()).expect("a short topic");
    let body = [&[0, length], topic.as_bytes(), &[0, 1], text.as_bytes()].concat();
    let header = [0x32, u8::try_from(body.len()).expect("a short text")];
    let packet = [&header[..], &body].concat();
    within(broker.write_all(&packet)).await.expect("it is open");
    let mut acknowledged = [0; 4];
    let read = within(broker.read_exact(&mut acknowledged)).await;
    read.expect("it is open");
    assert_eq!(acknowledged, [0x40, 2, 0, 1]);
}

/// Starts our broker, and logs in.
async fn broker() -> (Process, TcpStream) {
    (Process::example("mqtt"), log_in().await)
}

/// Waits for a broker, and logs in.
async fn log_in() -> TcpStream {
    let mut stream = connect(ADDRESS).await;
    let connect = b"\x10\x0f\0\x04MQTT\x04\x02\0\0\0\x03bob";
    within(stream.write_all(connect)).await.expect("it is open");
    let mut connected = [0; 4];
    let read = within(stream.read_exact(&mut connected)).await;
    read.expect("it is open");
    assert_eq!(connected, [0x20, 2, 0, 0]);
    stream
}

#[tokio::test]
async fn mqtt_subscriber_stays_subscribed_while_its_broker_restarts() {
    let _port = port_1234().await;
    let (mut server, mut bob) = broker().await;
    let mut subscriber = Process::start(example_path("mqtt_subscriber"), ["news", "mail"]);
    assert_eq!(subscriber.line().await, "subscribed");
    publish(&mut bob, "other", "unheard").await;
    publish(&mut bob, "news", "one").await;
    assert_eq!(subscriber.line().await, "news: one");
    for text in ["two", "three"] {
        assert_eq!(stop(server).await, [""; 0]);
        (server, bob) = broker().await;
        assert_eq!(subscriber.line().await, "Reconnected");
        publish(&mut bob, "mail", text).await;
        assert_eq!(subscriber.line().await, format!("mail: {text}"));
    }
    drop(subscriber);
    assert_eq!(stop(server).await, [""; 0]);
}

#[tokio::test]
async fn mqtt_subscriber_stays_subscribed_while_mosquitto_restarts() {
    // It is in the same package. By itself, `mosquitto` would serve.
    if is_missing("mosquitto_passwd") {
        return;
    }
    let _port = port_1234().await;
    // Debian has it in a folder for administrators.
    let start = "PATH=$PATH:/usr/sbin; exec mosquitto -p 1234";
    let mut server = Process::start("sh", ["-c", start]);
    let mut bob = log_in().await;
    let mut subscriber = Process::start(example_path("mqtt_subscriber"), ["news", "mail"]);
    assert_eq!(subscriber.line().await, "subscribed");
    publish(&mut bob, "other", "unheard").await;
    publish(&mut bob, "news", "one").await;
    assert_eq!(subscriber.line().await, "news: one");
    for text in ["two", "three"] {
        server.interrupt().await;
        let stopped = server.finished().await;
        assert!(stopped.status.success(), "{stopped:?}");
        server = Process::start("sh", ["-c", start]);
        bob = log_in().await;
        assert_eq!(subscriber.line().await, "Reconnected");
        publish(&mut bob, "mail", text).await;
        assert_eq!(subscriber.line().await, format!("mail: {text}"));
    }
    drop(subscriber);
    server.interrupt().await;
    server.finished().await;
}

/// Runs a client against a server that sends the first of these, each of the others once the client has sent something,
/// and then closes its half. Returns what the client complains about.
async fn complaint(client: &str, arguments: &[&str], sent: &[&[u8]]) -> String {
    let listener = TcpListener::bind(ADDRESS).await.expect("the port is free");
    let client = Process::start(example_path(client), arguments);
    let serving = async {
        let (mut stream, _) = listener.accept().await?;
        drop(listener);
        for (number, bytes) in sent.iter().enumerate() {
            if number > 0 {
                stream.read_buf(&mut Vec::new()).await?;
            }
            stream.write_all(bytes).await?;
        }
        stream.shutdown().await?;
        stream.read_to_end(&mut Vec::new()).await
    };
    let (served, finished) = tokio::join!(within(serving), client.finished());
    // A client may leave before it has read everything.
    drop(served);
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    finished.stderr
}

#[tokio::test]
async fn smtp_client_says_what_a_hostile_server_does() {
    let _port = port_1234().await;
    let path = mail("hello\n");
    let arguments = [
        &path.display().to_string(),
        "ann@a.example",
        "bob@b.example",
    ];
    let endless = b"220-x\r\n".repeat(2 << 20);
    let cut = "the connection ended in the middle of a frame";
    for (sent, complained) in [
        // No greeting, no code, codes that are cut or differ, and a reply without end.
        (
            &[&b""[..]][..],
            "closed the connection before the request was sent",
        ),
        (
            &[b"hello\r\n"],
            "a line that does not begin with a code of three digits",
        ),
        (&[b"220 cut"], cut),
        (&[b"220-one\r\n221 two\r\n"], cut),
        (
            &[&endless],
            "a message of 8388609 bytes exceeds `max_reply_len` of 8388608 bytes",
        ),
        // A refusal, a reply to no command, and success where the text is asked for.
        (&[b"554 no\r\n"], "554 no"),
        (
            &[b"220 hello\r\n250 early\r\n"],
            "the server sent an unexpected message",
        ),
        (
            &[
                b"220 a\r\n",
                b"250 b\r\n",
                b"250 c\r\n",
                b"250 d\r\n",
                b"250 e\r\n",
            ],
            "250 e",
        ),
    ] {
        let told = complaint("smtp_client", &arguments, sent).await;
        assert!(told.contains(complained), "{told} {complained}");
    }
    fs::remove_file(path).expect("it is there");
}

#[tokio::test]
async fn mqtt_subscriber_says_what_a_hostile_broker_does() {
    let _port = port_1234().await;
    // It says nothing until it has the packet CONNECT.
    let (first, connack) = (&b""[..], &b"\x20\x02\0\0"[..]);
    let cut = "the connection ended in the middle of a frame";
    for (sent, complained) in [
        // No reply, a refusal, and another kind of packet.
        (&[first, b""][..], "closed the connection before it replied"),
        (
            &[first, b"\x20\x02\0\x05"],
            "the broker refuses the connection",
        ),
        (&[first, b"\xd0\0"], "the broker refuses the connection"),
        // Lengths that are too wide and too large, and packets that are cut.
        (
            &[first, b"\x20\xff\xff\xff\xff\xff"],
            "a length beyond 28 bits",
        ),
        (
            &[first, b"\x20\xff\xff\xff\x7f"],
            "a message of 268435460 bytes exceeds `max_reply_len` of 8388608 bytes",
        ),
        (&[first, b"\x20\x02\0"], cut),
        (&[first, connack, b"\x90\x03\0"], cut),
        // No packet, and a topic that is refused.
        (
            &[first, connack, b"\x90\x03\0\x01\x80"],
            "the broker refuses a topic",
        ),
    ] {
        let told = complaint("mqtt_subscriber", &["news"], sent).await;
        assert!(told.contains(complained), "{told} {complained}");
    }
}

#[tokio::test]
async fn mqtt_subscriber_says_what_the_broker_refuses() {
    let _port = port_1234().await;
    let (server, _bob) = broker().await;
    let refused = Process::start(example_path("mqtt_subscriber"), ["news/#"]);
    let refused = refused.finished().await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        refused.stderr.contains("the broker refuses a topic"),
        "{refused:?}"
    );
    assert_eq!(stop(server).await, [""; 0]);
}

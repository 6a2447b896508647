//! Each example does what its header says.

#[cfg(unix)]
use std::path::Path;

use tcs_tests::{
    process::{Process, ask, connect, example_path, is_missing, port_1234},
    scratch_path, within,
};
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

const ADDRESS: (&str, u16) = ("127.0.0.1", 1234);

#[tokio::test]
async fn count_prints_what_the_client_is_told() {
    let count = Process::example("count");
    let printed = count.finished().await.succeeded();
    let [line] = printed.as_slice() else {
        panic!("one line: {printed:?}");
    };
    assert!(
        line.contains(" answered with an error: 127.0.0.1:"),
        "{line}"
    );
    assert!(
        line.ends_with(" asked for 11, and 10 is the most"),
        "{line}"
    );
}

#[tokio::test]
async fn hello_prints_the_response_and_ends() {
    let printed = Process::example("hello").finished().await.succeeded();
    assert_eq!(printed, ["Response: Hello Client!"]);
}

#[tokio::test]
async fn programs_print_what_their_header_says() {
    for (example, source) in [
        ("blocking", include_str!("../../../examples/blocking.rs")),
        ("deadlines", include_str!("../../../examples/deadlines.rs")),
        (
            "multiplexed",
            include_str!("../../../examples/multiplexed.rs"),
        ),
        (
            "operations",
            include_str!("../../../examples/operations.rs"),
        ),
        (
            "production_client",
            include_str!("../../../examples/production_client.rs"),
        ),
        (
            "rejections",
            include_str!("../../../examples/rejections.rs"),
        ),
        ("shop", include_str!("../../../examples/shop.rs")),
        ("tower", include_str!("../../../examples/tower.rs")),
        (
            "tower_client",
            include_str!("../../../examples/tower_client.rs"),
        ),
        (
            "typed_chat",
            include_str!("../../../examples/typed_chat.rs"),
        ),
        ("world", include_str!("../../../examples/world.rs")),
    ] {
        let blocks = source.split("//! ```").collect::<Vec<_>>();
        let printed = blocks[3].lines().skip(1);
        let printed: Vec<&str> = printed
            .filter_map(|line| line.strip_prefix("//! "))
            .collect();
        let finished = Process::example(example).finished().await;
        assert_eq!(finished.succeeded(), printed);
    }
}

#[tokio::test]
async fn resilient_fails_no_call_while_its_server_is_restarted() {
    let printed = Process::example("resilient").finished().await.succeeded();
    let answered: Vec<u64> = printed
        .iter()
        .filter_map(|line| line.strip_prefix("answered in a second: "))
        .map(|number| number.parse().expect(number))
        .collect();
    let has_answered: Vec<bool> = answered.iter().map(|number| *number > 0).collect();
    assert_eq!(
        has_answered,
        [true, false, true, false, true],
        "{printed:?}"
    );
    let others: Vec<&String> = printed
        .iter()
        .filter(|line| !line.starts_with("answered"))
        .collect();
    assert_eq!(
        others,
        [
            "connected",
            "the server stops",
            "lost",
            "the server starts",
            "connected",
            "the server stops",
            "lost",
            "the server starts",
            "connected",
            "connections: 3, failed calls: 0"
        ]
    );
}

#[tokio::test]
async fn greet_client_is_greeted_by_greet_server() {
    let _port = port_1234().await;
    let server = Process::example("greet_server");
    drop(connect(ADDRESS).await);
    let client = Process::example("greet_client");
    assert_eq!(
        client.finished().await.succeeded(),
        ["Response: Hello, Ann!"]
    );
    let client = Process::example("channel");
    assert_eq!(
        client.finished().await.succeeded(),
        ["Hello, Ann!", "Hello, Bob!"]
    );
    server.interrupt().await;
    let finished = server.finished().await;
    // Nobody has installed a subscriber, which would get the event.
    assert_eq!(finished.stderr, "listening on 127.0.0.1:1234\n");
    assert_eq!(finished.succeeded(), [""; 0]);
}

#[tokio::test]
async fn greet_server_tells_strangers_what_it_expects() {
    let _port = port_1234().await;
    let server = Process::example("greet_server");
    let reply = ask(connect(ADDRESS).await, "Ann\n").await;
    assert!(reply.contains("framing = Lines"), "{reply}");
    server.interrupt().await;
    server.finished().await.succeeded();
}

#[tokio::test]
async fn greet_client_without_a_server_says_so() {
    let _port = port_1234().await;
    let finished = Process::example("greet_client").finished().await;
    assert!(!finished.status.success(), "{finished:?}");
    assert!(finished.stderr.contains("127.0.0.1:1234"), "{finished:?}");
    assert!(finished.stderr.contains("refused"), "{finished:?}");
}

#[tokio::test]
async fn lines_answers_each_line() {
    let _port = port_1234().await;
    let server = Process::example("lines");
    let replies = ask(connect(ADDRESS).await, "Ann\nBob\r\n").await;
    assert_eq!(replies, "Hello, Ann!\nHello, Bob!\n");
    server.interrupt().await;
    assert_eq!(server.finished().await.succeeded(), [""; 0]);
}

#[tokio::test]
async fn tunnel_connects_its_peer_to_what_it_names() {
    let _port = port_1234().await;
    let mut server = Process::example("tunnel");
    let far = TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("a free port");
    let target = far.local_addr().expect("it is bound");
    let echo = tokio::spawn(async move {
        let (mut stream, _) = far.accept().await.expect("a peer");
        let (mut reading, mut writing) = stream.split();
        tokio::io::copy(&mut reading, &mut writing).await
    });
    let sent = format!("HELLO\nCONNECT {target}\nsome bytes");
    let said = ask(connect(ADDRESS).await, &sent).await;
    assert_eq!(said, "say CONNECT host:port\nok\nsome bytes");
    let copied = within(echo).await.expect("no panic").expect("no reset");
    assert_eq!(copied, 10);
    let line = server.line().await;
    assert_eq!(line, format!("{target}: 10 bytes up, 10 bytes down"));
    server.interrupt().await;
    assert_eq!(server.finished().await.succeeded(), [""; 0]);
}

#[tokio::test]
async fn middleware_logs_each_request() {
    let _port = port_1234().await;
    let mut server = Process::example("middleware");
    let replies = ask(connect(ADDRESS).await, "Ann\n").await;
    assert_eq!(replies, "Hello, Ann!\n");
    let line = server.line().await;
    assert!(line.starts_with("127.0.0.1:"), "{line}");
    assert!(line.contains(" waited for "), "{line}");
    server.interrupt().await;
    assert_eq!(server.finished().await.succeeded(), [""; 0]);
}

#[tokio::test]
async fn adaptive_answers_each_line() {
    let _port = port_1234().await;
    let server = Process::example("adaptive");
    let replies = ask(connect(ADDRESS).await, "a\nb\n").await;
    assert_eq!(replies, "done\ndone\n");
    server.interrupt().await;
    let [report] = &*server.finished().await.succeeded() else {
        panic!("one line");
    };
    assert!(report.contains("2 served"), "{report}");
}

#[tokio::test]
async fn greeting_holds_the_dialogue_of_its_header() {
    let _port = port_1234().await;
    let mut server = Process::example("greeting");
    // The columns of the header: what is said, and what is typed.
    let header = include_str!("../../../examples/greeting.rs");
    let dialogue: Vec<&str> = header
        .lines()
        .skip_while(|line| !line.starts_with("//! 220"))
        .take_while(|line| *line != "//! ```")
        .filter_map(|line| line.strip_prefix("//! "))
        .collect();
    let column = |is_typed: bool| -> String {
        let lines = dialogue
            .iter()
            .filter(|line| line.starts_with(' ') == is_typed);
        lines.flat_map(|line| [line.trim(), "\n"]).collect()
    };
    let said = ask(connect(ADDRESS).await, &column(true)).await;
    assert_eq!(said, column(false));
    assert_eq!(server.line().await, "from ann@example to bob@example:");
    assert_eq!(server.line().await, "Hello, Bob!");

    let rejected = "DATA\nEXPN\n\u{fffd}\nMAIL ann\nquit\nNOOP\n";
    let said = ask(connect(ADDRESS).await, rejected).await;
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(
        said,
        [
            "220 mail.example is ready",
            "500 RCPT comes first",
            "500 there is no command \"EXPN\"",
            "500 there is no command \"\u{fffd}\"",
            "500 it has the form FROM:<name@host>",
            "221 goodbye",
        ]
    );

    let mut idle = connect(ADDRESS).await;
    within(idle.readable()).await.expect("it is greeted");
    server.interrupt().await;
    let mut said = String::new();
    let rest = within(idle.read_to_string(&mut said)).await;
    rest.expect("no reset");
    assert_eq!(
        said,
        "220 mail.example is ready\n421 the server is stopping\n"
    );
    assert_eq!(server.finished().await.succeeded(), [""; 0]);
}

#[tokio::test]
async fn progress_shows_a_bar_and_can_be_cancelled() {
    let printed = Process::example("progress").finished().await.succeeded();
    let [hint, bar, reply] = &printed[..] else {
        panic!("{printed:?}");
    };
    assert_eq!(hint, "printing report.pdf; Ctrl-C cancels");
    let steps: Vec<&str> = bar.split('\r').collect();
    assert_eq!(steps.len(), 11);
    assert_eq!(steps[1], "[#---------]  10 %");
    assert_eq!(steps[10], "[##########] 100 %");
    assert_eq!(reply, "report.pdf has 10 pages");

    let mut cancelled = Process::example("progress");
    assert_eq!(cancelled.line().await, *hint);
    cancelled.interrupt().await;
    let printed = cancelled.finished().await.succeeded();
    assert_eq!(printed.last().map(String::as_str), Some("cancelled"));
}

#[tokio::test]
async fn upload_shows_how_much_of_a_file_is_sent() {
    let path = scratch_path("txt");
    std::fs::write(&path, "x".repeat(40_000)).expect("a new file");
    let example = Process::start(example_path("upload"), [&path]);
    let printed = example.finished().await.succeeded();
    let [line, reply] = &printed[..] else {
        panic!("{printed:?}");
    };
    let steps: Vec<&str> = line.split('\r').collect();
    let counts = [16_384, 32_768, 40_000].map(|sent| format!("{sent} of 40000 bytes"));
    assert_eq!(steps[1..], counts);
    assert_eq!(*reply, format!("{} is stored: 40000 bytes", path.display()));
    std::fs::remove_file(path).expect("it is there");
}

/// Connects guests, who say their names.
async fn guests<const N: usize>(names: [&str; N]) -> [BufReader<TcpStream>; N] {
    let mut guests = names.map(|_| None);
    for (guest, name) in guests.iter_mut().zip(names) {
        let mut stream = BufReader::new(connect(ADDRESS).await);
        say(&mut stream, name).await;
        *guest = Some(stream);
    }
    guests.map(|guest| guest.expect("it is connected"))
}

async fn say(guest: &mut BufReader<TcpStream>, line: &str) {
    let line = format!("{line}\n");
    within(guest.write_all(line.as_bytes()))
        .await
        .expect("it is open");
}

async fn hears(guest: &mut BufReader<TcpStream>, expected: &str) {
    let mut line = String::new();
    within(guest.read_line(&mut line))
        .await
        .expect("it is open");
    assert_eq!(line.trim_end(), expected);
}

#[tokio::test]
async fn room_tells_all_others() {
    let _port = port_1234().await;
    let server = Process::example("room");
    let [mut ann, mut bob] = guests(["Ann", "Bob"]).await;
    // Either may be the first, who hears that the other one has come.
    tokio::select! {
        () = hears(&mut ann, "Bob is here") => {}
        () = hears(&mut bob, "Ann is here") => {}
    }
    say(&mut ann, "hello").await;
    hears(&mut bob, "Ann: hello").await;
    drop(bob);
    say(&mut ann, "nobody there").await;
    server.interrupt().await;
    let mut rest = String::new();
    within(ann.read_to_string(&mut rest))
        .await
        .expect("no reset");
    assert_eq!(rest, "");
    assert_eq!(server.finished().await.succeeded(), [""; 0]);
}

#[tokio::test]
async fn chat_has_rooms() {
    let _port = port_1234().await;
    let mut server = Process::example("chat");
    let line = server.line().await;
    let programs = line.strip_prefix("programs talk at ").expect("an address");
    let mut guests = guests(["Ann", "Bob", "Cid"]).await;
    for (guest, (name, room, count)) in
        guests
            .iter_mut()
            .zip([("Ann", "tea", 1), ("Bob", "tea", 2), ("Cid", "coffee", 1)])
    {
        hears(guest, &format!("welcome, {name}")).await;
        say(guest, &format!("/join {room}")).await;
        hears(guest, &format!("{count} in {room}")).await;
    }
    let [mut ann, mut bob, mut cid] = guests;
    hears(&mut ann, "* Bob has come").await;
    say(&mut bob, "anyone here?").await;
    hears(&mut ann, "Bob: anyone here?").await;
    // Who changes rooms hears nothing of what was said there.
    say(&mut cid, "/join tea").await;
    hears(&mut cid, "3 in tea").await;
    for guest in [&mut ann, &mut bob] {
        hears(guest, "* Cid has come").await;
    }
    say(&mut cid, "/quit").await;
    hears(&mut cid, "bye").await;
    hears(&mut cid, "").await;
    // A program is in the same room.
    let mut program = Process::start(example_path("chat"), [programs, "Dan", "tea"]);
    assert_eq!(program.line().await, "3 in tea");
    for guest in [&mut ann, &mut bob] {
        hears(guest, "* Dan has come").await;
    }
    say(&mut bob, "who is Dan?").await;
    assert_eq!(program.line().await, "Bob: who is Dan?");
    hears(&mut ann, "Bob: who is Dan?").await;
    server.interrupt().await;
    assert_eq!(server.finished().await.succeeded(), [""; 0]);
    // It enters the room of the next server.
    let mut server = Process::start(example_path("chat"), [programs]);
    assert_eq!(server.line().await, line);
    assert_eq!(program.line().await, "* connected again");
    let [mut eve] = self::guests(["Eve"]).await;
    hears(&mut eve, "welcome, Eve").await;
    say(&mut eve, "/join tea").await;
    hears(&mut eve, "2 in tea").await;
    assert_eq!(program.line().await, "* Eve has come");
    drop(eve);
    server.interrupt().await;
    assert_eq!(server.finished().await.succeeded(), [""; 0]);
    program.interrupt().await;
}

#[tokio::test]
async fn telemetry_answers_questions_only() {
    let _port = port_1234().await;
    let mut server = Process::example("telemetry");
    let sent = "21.5;22.5;warm;21;mean;count;";
    let replies = ask(connect(ADDRESS).await, sent).await;
    assert_eq!(replies, "21.666666666666668;3;");
    let complaint = server.line().await;
    assert_eq!(complaint, "bad request: `warm` is no reading");
    let replies = ask(connect(ADDRESS).await, "1;count;all;").await;
    assert_eq!(replies, "1;4;");
    server.interrupt().await;
    assert_eq!(server.finished().await.succeeded(), [""; 0]);
}

#[tokio::test]
async fn prometheus_serves_the_numbers_as_text() {
    let _port = port_1234().await;
    let mut server = Process::start(example_path("prometheus"), ["127.0.0.1:0"]);
    let line = server.line().await;
    let numbers = line
        .strip_prefix("numbers on http://")
        .and_then(|rest| rest.strip_suffix("/metrics"))
        .expect("an address");
    let mut open = connect(ADDRESS).await;
    within(open.write_all(b"hello\n"))
        .await
        .expect("it is open");
    let mut reply = [0; 6];
    within(open.read_exact(&mut reply)).await.expect("a reply");
    assert_eq!(&reply, b"HELLO\n");

    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // The reply may be read before it is counted.
    let response = within(async {
        loop {
            let response = ask(connect(numbers).await, request).await;
            if response.contains("{outcome=\"served\"} 1") {
                break response;
            }
        }
    });
    let response = response.await;
    let (head, body) = response.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let length = format!("\r\nContent-Length: {}\r\n", body.len());
    assert!(head.contains(&length), "{head}");
    for line in [
        "# TYPE tcs_connections_open gauge",
        "tcs_connections_open 1",
        "# TYPE tcs_requests_total counter",
        "tcs_requests_total{outcome=\"failed\"} 0",
        "tcs_received_bytes_total 6",
        "tcs_sent_bytes_total 6",
    ] {
        let count = body.lines().filter(|other| *other == line).count();
        assert_eq!(count, 1, "{line} in {body}");
    }
    drop(open);
    server.interrupt().await;
    assert_eq!(server.finished().await.succeeded(), [""; 0]);
}

#[tokio::test]
async fn json_logs_are_an_object_for_each_line() {
    let _port = port_1234().await;
    let server = Process::example("json_logs");
    assert_eq!(ask(connect(ADDRESS).await, "4\n0\n").await, "25\n");
    server.interrupt().await;
    let finished = server.finished().await;
    // The subscriber has the event that the server listens, so nothing else says so.
    assert_eq!(finished.stderr, "");
    let logged = finished.succeeded();
    let event = |message: &str| -> serde_json::Value {
        let lines: Vec<_> = logged
            .iter()
            .filter(|line| line.contains(message))
            .collect();
        let [line] = lines.as_slice() else {
            panic!("one {message}: {logged:#?}");
        };
        serde_json::from_str(line).expect("JSON")
    };
    let panic = event("the processing of a request panicked");
    assert_eq!(panic["level"], "ERROR");
    assert_eq!(panic["fields"]["panic"], "attempt to divide by zero");
    let end = event("\"disconnected\"");
    assert_eq!(end["fields"]["requests"], 2);
    assert_eq!(end["fields"]["bytes_received"], 4);
    assert_eq!(end["fields"]["bytes_sent"], 3);
    assert!(end["fields"]["seconds"].is_f64(), "{end}");
    assert_eq!(end["span"]["id"], 1);
    assert!(end["span"]["peer"].is_string(), "{end}");
    event("\"stopped\"");
}

#[tokio::test]
async fn production_server_is_stopping_for_its_balancer_before_it_drains() {
    let _port = port_1234().await;
    let mut server = Process::start(example_path("production_server"), ["127.0.0.1:0"]);
    let json = |line: &str| -> serde_json::Value { serde_json::from_str(line).expect("JSON") };
    let monitored = json(&server.line().await);
    let monitor = monitored["fields"]["address"].as_str().expect("an address");
    assert_eq!(json(&server.line().await)["fields"]["message"], "listening");
    let get = async |path| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        ask(connect(monitor).await, &request).await
    };
    let client = || Process::example("tls_client").finished();
    let greeted = ["Response: Hello, Ann!"];
    assert_eq!(client().await.succeeded(), greeted);
    assert!(get("/ready").await.starts_with("HTTP/1.1 200 OK\r\n"));

    server.interrupt().await;
    within(async { while !get("/ready").await.starts_with("HTTP/1.1 503 ") {} }).await;
    // The balancer may not have noticed yet.
    assert_eq!(client().await.succeeded(), greeted);
    let numbers = get("/metrics").await;
    assert!(
        numbers.contains("\ntcs_requests_total{outcome=\"served\"} 2\n"),
        "{numbers}"
    );
    let logged = server.finished().await.succeeded();
    let stopped = json(logged.last().expect("a line"));
    assert_eq!(stopped["fields"]["message"], "stopped");
}

#[tokio::test]
async fn json_answers_the_python_client() {
    if is_missing("python3") {
        return;
    }
    let _port = port_1234().await;
    let server = Process::example("json");
    drop(connect(ADDRESS).await);
    let client = Process::python("../../examples/json_client.py", [""; 0]);
    assert_eq!(
        client.finished().await.succeeded(),
        [
            "{'Ok': {'item': 'thé vert', 'cents': 500}}",
            "{'Err': {'SoldOut': {'left': 99}}}"
        ]
    );
    let reply = ask(connect(ADDRESS).await, "{\"item\":\"tea\",\"count\":2}\n").await;
    assert_eq!(reply, "{\"Ok\":{\"item\":\"tea\",\"cents\":500}}\n");
    server.interrupt().await;
    assert_eq!(server.finished().await.succeeded(), [""; 0]);
}

#[tokio::test]
async fn graceful_finishes_what_it_began() {
    let _port = port_1234().await;
    let mut server = Process::example("graceful");
    assert_eq!(server.line().await, "listening on 127.0.0.1:1234");
    let reply = tokio::spawn(ask(connect(ADDRESS).await, "2\n"));
    assert_eq!(server.line().await, "working for 2 s");
    server.interrupt().await;
    assert_eq!(reply.await.expect("no panic"), "worked for 2 s\n");
    assert_eq!(
        server.finished().await.succeeded(),
        [
            "requests received: 1 (1 served, 0 failed, 0 rejected, 0 aborted); connections accepted: 1 (1 closed, 0 aborted)"
        ]
    );
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn tls_answers_its_client_and_the_command_of_its_header() {
    let _port = port_1234().await;
    let mut server = Process::example("tls");
    let folder = server.line().await;
    drop(connect(ADDRESS).await);
    let client = Process::example("tls_client").finished().await;
    assert_eq!(client.succeeded(), ["Response: Hello, Ann!"]);
    if is_missing("socat") {
        return;
    }
    let header = include_str!("../../../examples/tls.rs");
    let command = header.split("//! ").find(|line| line.contains("socat"));
    let command = format!("cd {folder} && {}", command.expect("a command"));
    let client = Process::start("sh", ["-c", &command]).finished().await;
    assert_eq!(client.succeeded(), ["Hello, Ann!"]);
    let stranger = command.replace(",cafile=cert.pem", "");
    let client = Process::start("sh", ["-c", &stranger]).finished().await;
    assert!(!client.status.success(), "{client:?}");
    assert!(client.stderr.contains("verify failed"), "{client:?}");
    server.interrupt().await;
    assert_eq!(server.finished().await.succeeded(), [""; 0]);
}

/// A part of a key would otherwise be taken for the whole at the next start.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn tls_leaves_no_part_of_a_certificate_on_a_full_disk() {
    let folder = scratch_path("folder");
    std::fs::create_dir(&folder).expect("a writable folder");
    let program = example_path("tls");
    // Nothing can be written to a file.
    let script = format!("trap '' XFSZ; ulimit -f 0; exec {}", program.display());
    let mut command = tokio::process::Command::new("sh");
    command.args(["-c", &script]).env("TMPDIR", &folder);
    let finished = Process::run(&mut command).finished().await;
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert!(finished.stderr.contains("key.pem"), "{finished:?}");
    let left = std::fs::read_dir(folder.join("tcs-example-tls")).expect("it was created");
    assert_eq!(left.count(), 0);
}

#[cfg(unix)]
#[tokio::test]
async fn unix_greets_the_user_and_removes_its_socket() {
    // The path is as fixed as the port.
    let _port = port_1234().await;
    let mut server = Process::example("unix");
    let path = server.line().await;
    let user = Process::start("id", ["-u"]).finished().await.succeeded();
    let stream = within(UnixStream::connect(&path))
        .await
        .expect("it listens");
    let (mut reading, mut writing) = stream.into_split();
    within(writing.write_all(b"Ann\n")).await.expect("it reads");
    within(writing.shutdown()).await.expect("it is open");
    let mut reply = String::new();
    let read = within(reading.read_to_string(&mut reply)).await;
    read.expect("no reset");
    assert_eq!(reply, format!("Hello, Ann! You are user {}.\n", user[0]));
    server.interrupt().await;
    assert_eq!(server.finished().await.succeeded(), [""; 0]);
    assert!(!Path::new(&path).exists(), "{path} is left");
}

//! `tcs describe`, and calls of operations.

use tcs::{
    ConcurrentServer,
    format::{Json, MessagePack, Postcard},
    framing::{Lines, Multiplexed},
    server_protocol,
};
use tcs_tests::{gate, start, tester};

use crate::{Ran, fails, printed, ran, scripted};

macro_rules! bank {
    ($module:ident, $($options:tt)*) => {
        /// A bank.
        #[server_protocol($($options)*, describe)]
        pub(crate) mod $module {
            /// Takes money.
            ///
            /// It must be there.
            pub fn withdraw(cents: u64, note: Option<String>) -> Result<u64, String> {
                let note = note.unwrap_or_default();
                5_000_u64.checked_sub(cents).ok_or_else(|| format!("too much: {note}"))
            }

            pub fn balance() -> u64 {
                5_000
            }
        }
    };
}

bank!(json_bank, format = Json);
bank!(lines_bank, format = Json, framing = Lines);
bank!(many_bank, format = Json, framing = Multiplexed);
bank!(pack_bank, format = MessagePack);
bank!(number_bank, format = Postcard);

/// What `tcs describe` prints of a bank.
fn description(name: &str) -> Vec<String> {
    let lines = [
        name,
        "  A bank.",
        "",
        "  withdraw(cents: u64, note: Option<String>) -> Result<u64, String>",
        "      Takes money.",
        "",
        "      It must be there.",
        "",
        "  balance() -> u64",
    ];
    lines.map(str::to_owned).to_vec()
}

#[tokio::test]
async fn operations_are_described_in_each_format() {
    let server = start(ConcurrentServer::new(json_bank::Protocol)).await;
    let address = server.addr().to_string();
    assert_eq!(
        printed(ran(&["describe", &address]).await),
        description("json_bank")
    );
    assert_eq!(
        printed(ran(&["describe", &address, "--names"]).await),
        ["withdraw", "balance"]
    );
    let json = printed(ran(&["describe", &address, "--json"]).await).join("\n");
    assert!(json.contains(r#""type": "Option<String>""#), "{json}");
    server.stopped().await;

    let server = start(ConcurrentServer::new(pack_bank::Protocol)).await;
    let address = server.addr().to_string();
    assert_eq!(
        printed(ran(&["describe", &address]).await),
        description("pack_bank")
    );
    server.stopped().await;

    let server = start(ConcurrentServer::new(number_bank::Protocol)).await;
    let address = server.addr().to_string();
    assert_eq!(
        printed(ran(&["describe", &address]).await),
        description("number_bank")
    );
    server.stopped().await;

    let server = start(ConcurrentServer::new(lines_bank::Protocol)).await;
    let address = server.addr().to_string();
    assert_eq!(
        printed(ran(&["describe", &address, "-f", "lines"]).await),
        description("lines_bank")
    );
    server.stopped().await;

    let server = start(ConcurrentServer::new(many_bank::Protocol)).await;
    let address = server.addr().to_string();
    assert_eq!(
        printed(ran(&["describe", &address, "-f", "multiplexed"]).await),
        description("many_bank")
    );
    server.stopped().await;
}

#[tokio::test]
async fn operations_are_called_by_name() {
    let (json, pack) = (json_bank::Protocol, pack_bank::Protocol);
    let servers = [
        ("json", start(ConcurrentServer::new(json)).await),
        ("messagepack", start(ConcurrentServer::new(pack)).await),
    ];
    for (format, server) in servers {
        let address = server.addr().to_string();
        let call = async |operation: &str, arguments: &[&str]| -> Ran {
            let options = ["call", &address, "--format", format, "-o", operation];
            ran(&[&options, arguments].concat()).await
        };
        assert_eq!(printed(call("balance", &[]).await), ["5000"]);
        assert_eq!(
            printed(call("withdraw", &[r#"{"cents": 2000}"#]).await),
            [r#"{"Ok":3000}"#]
        );
        let refused = call("withdraw", &[r#"{"cents": 6000, "note": "a car"}"#]).await;
        assert_eq!(refused.stdout, [r#"{"Err":"too much: a car"}"#]);
        fails(&refused, 1, "the reply is an error");
        fails(
            &call("balanse", &[]).await,
            1,
            "\n  did you mean `balance`? balance() -> u64\n",
        );
        fails(
            &call("withdraw", &[]).await,
            1,
            "\n  it takes other arguments: withdraw(cents: u64, note",
        );
        fails(
            &call("lend", &[]).await,
            1,
            "there is no `lend`; the operations are withdraw, balance",
        );
        server.stopped().await;
    }
}

#[server_protocol(format = Json)]
fn double(number: u32) -> u32 {
    number * 2
}

#[tokio::test]
async fn server_without_a_description_is_told() {
    let server = start(ConcurrentServer::new(Double)).await;
    let address = server.addr().to_string();
    let described = ran(&["describe", &address]).await;
    fails(
        &described,
        1,
        "the server does not describe itself\n  give its module the option `describe`",
    );
    server.stopped().await;
}

#[tokio::test]
async fn server_of_another_framing_is_told() {
    let server = start(ConcurrentServer::new(tester::<Lines>(&gate()))).await;
    let address = server.addr().to_string();
    let described = ran(&["describe", &address]).await;
    fails(&described, 1, "\n  check --framing and the port");
    server.stopped().await;
}

#[tokio::test]
async fn description_may_come_in_parts_between_others() {
    let hex = |text: &str| {
        let digits = text.bytes().map(|byte| format!("{byte:02x}"));
        digits.collect::<Vec<_>>().concat()
    };
    let frame = |id: &str, text: &str| format!("{:08x} {id} {}", text.len(), hex(text));
    let reply = r#"{"describe":"{\"protocol\":\"Bank\",\"operations\":[]}"}"#;
    let (first, last) = reply.split_at(20);
    let part = |id: &str| format!("80000005 {id} 85 00000001 {}", frame(id, first));
    let script = format!(
        "expect-any\nsend-bytes-hex {} {} {} {}",
        part("00000007"),
        part("ffffffff"),
        frame("00000007", "late"),
        frame("ffffffff", last),
    );
    let peer = scripted(&script, &["-f", "multiplexed"]).await;
    let arguments = ["describe", &peer.address, "-f", "multiplexed"];
    assert_eq!(printed(ran(&arguments).await), ["Bank"]);
    peer.followed().await;
}

#[tokio::test]
async fn advice_of_a_server_does_not_change_the_terminal() {
    let description = r#"{\"protocol\":\"Bank\",\"operations\":[{\"name\":\"lend\\u001b[2J\"}]}"#;
    // The other escapes are those of the script.
    let reply = format!(r#"{{"describe":"{description}"}}"#);
    let script = format!("expect-any\nreject bad-request\nexpect-any\nsend {reply}");
    let peer = scripted(&script, &["--format", "json"]).await;
    let arguments = ["call", &peer.address, "--format", "json", "-o", "lend"];
    let called = ran(&arguments).await;
    fails(&called, 1, "\\u{1b}[2J");
    assert!(!called.stderr.contains('\x1b'), "{called:?}");
    peer.followed().await;
}

#[tokio::test]
async fn error_does_not_wait_for_its_advice() {
    let script = "expect-any\nreject bad-request\nexpect-any\nstall";
    let peer = scripted(script, &["--format", "json"]).await;
    let arguments = ["call", &peer.address, "--format", "json", "-o", "lend"];
    let called = ran(&[&arguments[..], &["--timeout", "1h"]].concat()).await;
    fails(&called, 1, "rejected (bad request)");
    peer.followed().await;
}

#[tokio::test]
async fn description_does_not_change_the_terminal() {
    let description = "{\\\"protocol\\\":\\\"Bank\u{9b}2J\u{202e}\\\",\\\"operations\\\":[]}";
    let script = format!("expect-any\nsend {{\"describe\":\"{description}\"}}");
    for option in [&[][..], &["--json"]] {
        let peer = scripted(&script, &["--format", "json"]).await;
        let arguments = [&["describe", &peer.address], option].concat();
        let shown = printed(ran(&arguments).await).join("\n");
        assert!(shown.contains("2J"), "{shown:?}");
        assert!(!shown.contains(['\u{9b}', '\u{202e}']), "{shown:?}");
        peer.followed().await;
    }
}

#[tokio::test]
async fn wrong_description_is_told_with_what_to_do() {
    for (reply, said) in [
        ("[1]", "the reply is not a description"),
        (
            r#"{"describe":"{}"}"#,
            "the description is not one of tcs: missing field",
        ),
    ] {
        let script = format!("expect-any\nsend {reply}");
        let peer = scripted(&script, &["--format", "json"]).await;
        let described = ran(&["describe", &peer.address]).await;
        fails(&described, 5, said);
        fails(&described, 5, "\n  see the reply with `tcs call`");
        peer.followed().await;
    }
}

#[tokio::test]
async fn description_comes_after_the_end_of_the_request_where_that_ends_it() {
    let script = r#"expect {"describe":{}}
send {"describe":"{\"protocol\":\"Bank\",\"operations\":[]}"}
close"#;
    let options = ["-f", "until-eof", "--format", "json"];
    let peer = scripted(script, &options).await;
    let describe = [
        &["describe", &peer.address][..],
        &options,
        &["--timeout", "5s"],
    ]
    .concat();
    assert_eq!(printed(ran(&describe).await), ["Bank"]);
    peer.followed().await;
}

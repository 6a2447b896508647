//! `tcs describe`, and calls of operations.

use tcs::{
    ConcurrentServer,
    format::{Json, MessagePack, Postcard},
    framing::Lines,
    server_protocol,
};
use tcs_tests::start;

use crate::{Ran, fails, printed, ran};

macro_rules! bank {
    ($module:ident, $($options:tt)*) => {
        /// A bank.
        #[server_protocol($($options)*, describe)]
        mod $module {
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
            "\n  its arguments are others: withdraw(cents: u64, note",
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

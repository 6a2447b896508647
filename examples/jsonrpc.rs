//! Functions for the clients of JSON-RPC, with the headers of the Language Server Protocol.
//!
//! ```text
//! cargo run -p tcs-examples --features json --example jsonrpc
//! ```
//!
//! It listens on 127.0.0.1:1234 until you press Ctrl-C. Requests run side by side, so a quick one overtakes a slow one. It leaves
//! out: batches, parameters by name, `$/cancelRequest`, and requests of the server to its client.
//!
//! Try: in a second terminal, run
//!
//! ```text
//! printf 'Content-Length: 55\r\n\r\n{"jsonrpc":"2.0","id":1,"method":"add","params":[40,2]}' | nc -N localhost 1234
//! ```
//!
//! It prints a header and `{"jsonrpc":"2.0","id":1,"result":42}`.

use std::time::Duration;

use serde::{Deserialize, Serialize, de::IgnoredAny};
use tcs::{
    ConcurrentServer, Rejection, Response, format::Json, framing::ContentLength, server_protocol,
};

#[derive(Deserialize)]
struct Call {
    /// A notification has none, and gets no reply.
    id: Option<Id>,
    method: String,
    #[serde(default)]
    params: Params,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Params {
    Numbers(Vec<i64>),
    /// Not those of a method. Its caller is told, by its id.
    Others(IgnoredAny),
}

impl Default for Params {
    fn default() -> Self {
        Self::Numbers(Vec::new())
    }
}

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Id {
    Number(i64),
    Text(String),
}

#[derive(Serialize)]
struct Outcome {
    jsonrpc: &'static str,
    id: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Fault>,
}

#[derive(Serialize)]
struct Fault {
    code: i32,
    message: String,
}

#[server_protocol(format = Json, framing = ContentLength, concurrent = 16, unordered, reject_with = rejected)]
async fn jsonrpc(call: Call) -> Response<Outcome> {
    let numbers = match &call.params {
        Params::Numbers(numbers) => &numbers[..],
        Params::Others(IgnoredAny) => &[],
    };
    let outcome = match (&*call.method, numbers) {
        ("add", [one, other]) => one
            .checked_add(*other)
            .ok_or((-32000, "the sum is too large")),
        ("sleep", [millis @ 0..=10_000]) => {
            tokio::time::sleep(Duration::from_millis(millis.unsigned_abs())).await;
            Ok(*millis)
        }
        ("add" | "sleep", _) => Err((-32602, "invalid parameters")),
        _ => Err((-32601, "there is no such method")),
    };
    match call.id {
        Some(id) => Response::Reply(reply(Some(id), outcome)),
        None => Response::NoReply,
    }
}

fn reply(id: Option<Id>, outcome: Result<i64, (i32, &str)>) -> Outcome {
    Outcome {
        jsonrpc: "2.0",
        id,
        result: outcome.ok(),
        error: outcome.err().map(|(code, text)| Fault {
            code,
            message: text.to_owned(),
        }),
    }
}

/// What is no request has no id.
fn rejected(rejection: &Rejection) -> Outcome {
    reply(None, Err((-32700, rejection.text())))
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(Jsonrpc).run()
}

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
//! It prints a header and `{"id":1,"jsonrpc":"2.0","result":42}`.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tcs::{
    ConcurrentServer, Rejection, RejectionKind, Response, format::Json, framing::ContentLength,
    server_protocol,
};

#[derive(Deserialize)]
struct Call {
    /// A notification has none, and gets no reply.
    id: Option<Value>,
    method: String,
    #[serde(default)]
    params: Value,
}

#[server_protocol(format = Json, framing = ContentLength, concurrent = 16, unordered, reject_with = rejected)]
async fn jsonrpc(call: Call) -> Response<Value> {
    let numbers: Vec<i64> = serde_json::from_value(call.params).unwrap_or_default();
    let outcome = match (call.method.as_str(), numbers.as_slice()) {
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
    match (call.id, outcome) {
        (None, _) => Response::NoReply,
        (Some(id), Ok(result)) => {
            Response::Reply(json!({ "jsonrpc": "2.0", "id": id, "result": result }))
        }
        (Some(id), Err((code, text))) => Response::Reply(error(&id, code, text)),
    }
}

fn error(id: &Value, code: i32, text: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": text } })
}

/// An error has the id of its request, if that is JSON.
fn rejected(rejection: &Rejection) -> Value {
    let request = serde_json::from_slice::<Value>(rejection.request().unwrap_or_default()).ok();
    let code = match (rejection.kind(), &request) {
        (RejectionKind::BadRequest, Some(_)) => -32600,
        (RejectionKind::BadRequest | RejectionKind::ProtocolError, None) => -32700,
        // It may be right: the server is busy, it is too large, or its function failed.
        _ => -32000,
    };
    let id = request.as_ref().map_or(&Value::Null, |it| &it["id"]);
    error(id, code, rejection.text())
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(Jsonrpc).run()
}

//! The references of a repository, for `git ls-remote`: the first half of what a Git server says to a `git fetch`.
//!
//! ```text
//! cargo run --example git
//! ```
//!
//! It leaves out the second half, in which the client asks for objects and gets a pack, and version 2 of the protocol,
//! which it need not offer: a client that asks for it takes the answer of version 0.
//!
//! Try: `git ls-remote git://localhost:1234/tcs`. Then ask for another repository.

use tcs::{ConcurrentServer, Response, framing::Hex4, protocol::Replies, server_protocol};

const ID: &str = "ce013625030ba8dba906f756967f9e9ca394464a";

/// Each message has room for its length, which the framing fills in.
#[server_protocol(framing = Hex4, replies = String)]
async fn git(line: &str, mut out: Replies<'_, Git>) -> Result<Response<String>, String> {
    let (_length, request) = line.split_at(4);
    let Some(request) = request.strip_prefix("git-upload-pack ") else {
        // After the references, a client that wants nothing ends with a flush.
        return Ok(Response::Close);
    };
    let path = request.split('\0').next().unwrap_or(request);
    if path != "/tcs" {
        let error = format!("0000ERR there is no repository {path}\n");
        return Ok(Response::ReplyAndClose(error));
    }
    // The capabilities follow the first reference. This server has none but its name.
    out.send(format!("0000{ID} HEAD\0agent=tcs\n")).await?;
    for name in ["refs/heads/main", "refs/tags/v1"] {
        out.send(format!("0000{ID} {name}\n")).await?;
    }
    Ok(Response::Reply("0000".to_owned()))
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(Git).run()
}

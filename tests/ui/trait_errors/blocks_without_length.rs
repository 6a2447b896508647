use tcs::framing::{Block, Blocks};
use tcs::server_protocol;

enum Put {}

#[server_protocol(framing = Blocks<Put>)]
fn jobs(request: Block<'_>) -> String {
    request.line.to_owned()
}

fn main() {}

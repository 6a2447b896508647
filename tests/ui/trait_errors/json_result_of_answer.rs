use tcs::{Response, format::Json, server_protocol};

#[server_protocol(format = Json)]
fn place(count: u32) -> Result<Response<u32>, String> {
    Ok(Response::ReplyAndClose(count))
}

fn main() {}

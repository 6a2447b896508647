use tcs::{Response, protocol::Many, server_protocol};

#[server_protocol]
fn count(to: u32) -> Response<(), Many<'_, Count>> {
    Response::many(0..to, ())
}

fn main() {}

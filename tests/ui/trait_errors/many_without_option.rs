use tcs::{Response, protocol::Many, server_protocol};

#[server_protocol]
fn words(line: &str) -> Response<usize, Many<'_, Words>> {
    Response::many(line.split(' '), line.len())
}

fn main() -> tcs::Result<()> {
    tcs::ConcurrentServer::new(Words).port(1234).run()
}

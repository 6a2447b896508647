#[tcs::server_protocol(format = tcs::format::Json)]
fn count(names: Vec<&'static str>) -> usize {
    names.len()
}

fn main() -> tcs::Result<()> {
    tcs::ConcurrentServer::new(Count).port(1234).run()
}

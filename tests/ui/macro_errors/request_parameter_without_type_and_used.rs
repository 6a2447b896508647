use tcs::{blocking::Connection, client_protocol};

#[client_protocol(request = |name| format!("Hello, {name}!"))]
fn count(reply: &str) -> usize {
    reply.len()
}

fn main() -> tcs::Result<()> {
    Connection::connect("localhost:7000")?.exchange(Count { name: "Ann" })?;
    Connection::connect("localhost:7000")?.exchange(Count::new(7))?;
    Ok(())
}

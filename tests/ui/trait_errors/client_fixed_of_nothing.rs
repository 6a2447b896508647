use tcs::{client_protocol, framing::Fixed};

#[client_protocol(framing = Fixed<0>, request = "Ann")]
fn count(reply: &str) -> usize {
    reply.len()
}

fn main() {}

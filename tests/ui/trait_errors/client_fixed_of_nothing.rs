use tcs::{Fixed, client_protocol};

#[client_protocol(framing = Fixed<0>, request = "Ann")]
fn count(reply: &str) -> usize {
    reply.len()
}

fn main() {}

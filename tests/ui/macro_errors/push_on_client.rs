use tcs::client_protocol;

#[client_protocol(request = "Ann", push = &str)]
fn greeted(reply: &str) -> usize {
    reply.len()
}

fn main() {}

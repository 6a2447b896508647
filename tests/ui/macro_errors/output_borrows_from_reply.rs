use tcs::client_protocol;

#[client_protocol(request = "Ann")]
fn first(reply: &str) -> Option<&str> {
    reply.lines().next()
}

fn main() {}

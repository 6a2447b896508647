use tcs::client_protocol;

#[client_protocol(request = "Ann")]
fn first(reply: &str) -> impl Into<String> {
    reply.to_owned()
}

fn main() {}

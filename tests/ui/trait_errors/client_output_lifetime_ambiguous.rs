use tcs::client_protocol;

#[client_protocol(request = "Ann")]
fn longer(reply: &str, other: &str) -> &str {
    if reply.len() > 3 { "" } else { other }
}

fn main() {}

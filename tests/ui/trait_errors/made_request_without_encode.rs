use tcs::client_protocol;

#[client_protocol(reply = String)]
fn ask(name: &str) -> Option<&str> {
    Some(name)
}

fn main() {}

use tcs::client_protocol;

#[client_protocol(reply = impl Sized)]
fn ask(name: &str) -> &str {
    name
}

fn main() {}

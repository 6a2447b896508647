use tcs::client_protocol;

#[client_protocol(reply = &str)]
fn ask(name: &str) -> String {
    format!("who is {name}?")
}

fn main() {}

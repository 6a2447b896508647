use tcs::server_protocol;

#[server_protocol]
fn greet(name: &str) -> &str {
    let text = format!("Hello, {name}!");
    &text
}

fn main() {}

use tcs::{framing::UntilEof, server_protocol};

#[server_protocol(framing = UntilEof, half_close = ends)]
async fn greet(name: &str) -> String {
    format!("Hello, {name}!")
}

fn main() {}

use tcs::server_protocol;

#[server_protocol(blocking, concurrent = 16)]
fn greet(name: &str) -> String {
    format!("Hello, {name}!")
}

fn main() {}

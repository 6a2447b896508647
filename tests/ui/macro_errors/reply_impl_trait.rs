use tcs::server_protocol;

#[server_protocol]
fn greet(name: &str) -> impl Into<String> {
    name
}

fn main() {}

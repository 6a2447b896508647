use tcs::server_protocol;

#[server_protocol(greeting = Some("hello"))]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}

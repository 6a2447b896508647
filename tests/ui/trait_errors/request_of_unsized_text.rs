use tcs::server_protocol;

#[server_protocol]
fn greet(name: str) -> String {
    String::from(&name)
}

fn main() {}

use tcs::server_protocol;

#[server_protocol]
#[idempotent]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}

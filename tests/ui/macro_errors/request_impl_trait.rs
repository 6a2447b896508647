use tcs::server_protocol;

#[server_protocol]
fn greet(name: impl Into<String>) -> String {
    name.into()
}

fn main() {}

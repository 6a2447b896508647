use tcs::server_protocol;

#[server_protocol]
#[state]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}

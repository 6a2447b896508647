use tcs::server_protocol;

#[server_protocol(session = 7)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}

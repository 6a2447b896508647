use tcs::server_protocol;

#[server_protocol(port = 7000)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}

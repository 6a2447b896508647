use tcs::server_protocol;

#[server_protocol(blocking = true)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}

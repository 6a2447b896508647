use tcs::server_protocol;

#[server_protocol(format = json)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}

use tcs::server_protocol;

#[server_protocol(Self)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}

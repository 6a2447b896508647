use tcs::server_protocol;

#[server_protocol(crate = 5)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}

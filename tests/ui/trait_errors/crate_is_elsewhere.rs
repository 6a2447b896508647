use tcs::server_protocol;

#[server_protocol(crate = nowhere::tcs)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}

use tcs::server_protocol;

#[server_protocol(framing = "lines")]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}

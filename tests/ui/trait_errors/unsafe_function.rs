use tcs::server_protocol;

#[server_protocol]
unsafe fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}

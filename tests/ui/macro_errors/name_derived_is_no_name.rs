use tcs::server_protocol;

#[server_protocol]
fn _1(name: &str) -> String {
    name.to_owned()
}

fn main() {}

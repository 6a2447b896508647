use tcs::server_protocol;

struct Greet;

#[server_protocol]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {
    let _ = Greet;
}

use std::sync::Mutex;

struct Login;

#[tcs::server_protocol]
fn greet(name: &str, #[state] logins: &Mutex<Vec<Lgoin>>) -> String {
    name.to_owned()
}

fn main() {}

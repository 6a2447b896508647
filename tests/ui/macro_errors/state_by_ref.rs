use tcs::server_protocol;

#[server_protocol]
fn greet(name: &str, #[state] ref greeting: &String) -> String {
    format!("{greeting} {name}")
}

fn main() {}

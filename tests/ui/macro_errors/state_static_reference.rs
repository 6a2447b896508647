use tcs::server_protocol;

#[server_protocol]
fn greet(name: &str, #[state] greeting: &'static u64) -> String {
    format!("{greeting} {name}")
}

fn main() {}

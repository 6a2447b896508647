use tcs::server_protocol;

#[server_protocol]
fn greet(name: &str, #[state] greeting: String) -> String {
    format!("{greeting} {name}")
}

fn main() {
    let _ = tcs::OnceServer::new(Greet { greeting: greet("a", String::new()) });
}

use tcs::server_protocol;

#[server_protocol(unordered)]
async fn greet(name: &str) -> String {
    format!("Hello, {name}!")
}

fn main() {}

use tcs::server_protocol;

#[server_protocol(concurrent = 16)]
async fn greet(name: &str, #[session] seen: &mut u32) -> String {
    *seen += 1;
    format!("Hello, {name}!")
}

fn main() {}

#[tcs::server_protocol]
fn age(name: &str) -> Result<usize, String> {
    Ok(name.len())
}

#[tcs::client_protocol(server = Age, request = "Ann")]
async fn ask(reply: Result<usize, String>) -> usize {
    reply.unwrap_or_default()
}

fn main() {}

#[tcs::server_protocol]
fn age(name: &str) -> usize {
    name.len()
}

#[tcs::client_protocol(server = Age, request = "Ann")]
async fn ask(reply: Vec<String>) -> usize {
    reply.len()
}

fn main() {}

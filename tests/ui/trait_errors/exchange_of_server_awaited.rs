#[tcs::server_protocol]
fn greet(name: &str) -> String {
    format!("Hello, {name}!")
}

pub async fn call(channel: tcs::Channel) -> tcs::Result<()> {
    channel.exchange(Greet).await
}

fn main() {}

#[tcs::server_protocol(framing = tcs::framing::Lines)]
fn greet(name: &str) -> String {
    format!("Hello, {name}!")
}

pub async fn call(channel: tcs::Channel) -> tcs::Result<String> {
    channel.call::<Greet>("Ann").await
}

fn main() {}

#[tcs::server_protocol]
fn first_word(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}

fn main() {
    let _ = |channel: tcs::Channel| drop(channel.call::<FirstWord>("Hello, Ann!"));
}

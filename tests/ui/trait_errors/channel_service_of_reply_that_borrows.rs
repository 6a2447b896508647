#[tcs::server_protocol]
fn first(text: &str) -> &str {
    &text[..1]
}

fn serve(channel: tcs::Channel) {
    let _service = channel.service::<First>();
}

fn main() {}

use tcs::framing::CrlfText;

#[tcs::server_protocol(framing = CrlfText, requests = &str)]
async fn read(request: &str, #[framing] _framing: &mut CrlfText) -> usize {
    request.len()
}

fn main() {}

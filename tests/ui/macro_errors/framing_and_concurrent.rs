use tcs::framing::CrlfText;

#[tcs::server_protocol(framing = CrlfText, concurrent = 8)]
async fn read(request: &str, #[framing] _framing: &mut CrlfText) -> usize {
    request.len()
}

fn main() {}

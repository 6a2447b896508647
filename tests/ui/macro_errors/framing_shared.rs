#[tcs::server_protocol(framing = tcs::framing::CrlfText)]
fn read(request: &str, #[framing] _framing: &tcs::framing::CrlfText) -> usize {
    request.len()
}

fn main() {}

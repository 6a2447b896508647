use tcs::framing::CrlfText;

#[tcs::server_protocol(framing = CrlfText)]
fn read(request: &str, #[framing] _one: &mut CrlfText, #[framing] _two: &mut CrlfText) -> usize {
    request.len()
}

fn main() {}

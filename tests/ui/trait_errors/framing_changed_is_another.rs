use tcs::framing::{CrlfText, Lines};

#[tcs::server_protocol(framing = Lines)]
fn read(request: &str, #[framing] _framing: &mut CrlfText) -> usize {
    request.len()
}

fn main() {}

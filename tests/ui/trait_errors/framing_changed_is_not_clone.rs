use tcs::framing::{FrameError, Framing, Input, ParsedFrame};

#[derive(Default)]
struct Whole;
impl Framing for Whole {
    fn parse(&mut self, _: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> { Ok(None) }
}

#[tcs::server_protocol(framing = Whole)]
fn read(request: &str, #[framing] _framing: &mut Whole) -> usize { request.len() }

fn main() {}

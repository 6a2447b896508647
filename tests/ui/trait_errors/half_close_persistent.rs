use tcs::{FrameError, Framing, ParsedFrame, Unparsed, server_protocol};

#[derive(Default)]
struct Whole;

impl Framing for Whole {
    const HALF_CLOSE: bool = true;

    fn parse(&mut self, input: Unparsed<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        input.unfinished()
    }
}

#[server_protocol(framing = Whole)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}

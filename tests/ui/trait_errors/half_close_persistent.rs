#[derive(Default)]
struct Whole;
impl tcs::Framing for Whole {
    const HALF_CLOSE: bool = true;
    fn parse(&mut self, input: tcs::Unparsed<'_>) -> Result<Option<tcs::ParsedFrame>, tcs::FrameError> {
        input.unfinished()
    }
}
#[tcs::server_protocol(framing = Whole)]
fn greet(_name: &str) {}

fn main() {}

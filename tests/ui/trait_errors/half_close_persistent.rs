#[derive(Default)]
struct Whole;
impl tcs::framing::Framing for Whole {
    const HALF_CLOSE: bool = true;
    fn parse(&mut self, input: tcs::framing::Unparsed<'_>) -> Result<Option<tcs::framing::ParsedFrame>, tcs::framing::FrameError> {
        input.incomplete()
    }
}
#[tcs::server_protocol(framing = Whole)]
fn greet(_name: &str) {}

fn main() {}

#[tcs::client_protocol(request = "Ann")]
fn ask(reply: Result<u8, String>) -> Option<u8> {
    reply.ok()
}

fn main() -> tcs::Result<()> {
    tcs::Client::new(Ask).port(1234).run().map(drop)
}

use tcs::client_protocol;

#[derive(serde::Deserialize)]
struct Receipt(u32);

#[client_protocol(request = "tea")]
fn cents(reply: Receipt) -> u32 {
    reply.0
}

fn main() {}

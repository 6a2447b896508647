use tcs::client_protocol;

#[derive(serde::Serialize)]
struct Order(u32);

#[client_protocol(request = Order(1))]
fn cents(reply: u32) -> u32 {
    reply
}

fn main() {}

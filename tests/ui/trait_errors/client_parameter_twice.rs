use tcs::client_protocol;

#[client_protocol(request = 1)]
fn add(reply: u32, _to: u8, _to: u16) -> u32 {
    reply
}

fn main() {
    let _ = Add::new(1);
}

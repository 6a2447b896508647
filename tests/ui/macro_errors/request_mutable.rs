use tcs::server_protocol;

#[server_protocol]
fn shout(text: &mut [u8]) -> usize {
    text.len()
}

fn main() {}

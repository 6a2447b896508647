use tcs::{framing::Varint, server_protocol};

#[server_protocol(framing = Varint<65>)]
fn greet(packet: &[u8]) -> Vec<u8> {
    packet.to_vec()
}

fn main() {}

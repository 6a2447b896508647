use tcs::{Connection, framing::LengthPrefixed, server_protocol};

#[server_protocol]
fn double(n: u32) -> u32 { n * 2 }

pub async fn use_it(mut connection: Connection<LengthPrefixed>) {
    let _ = connection.call::<Double>("7").await;
}
fn main() {}

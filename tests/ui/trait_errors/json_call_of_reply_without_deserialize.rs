use tcs::{Connection, format::Json, framing::LengthPrefixed, server_protocol};

#[derive(serde::Serialize)]
struct Receipt(u32);

#[server_protocol(format = Json)]
fn place(count: u32) -> Receipt {
    Receipt(count)
}

const CALL: fn(&mut Connection<LengthPrefixed>) = |c| drop(c.call::<Place>(1));
fn main() {}

//! Framings with parameters, in all places where one can be named.

use tcs::{
    client_protocol,
    framing::{
        CrlfLines, Delimited, Digits, Fixed, Hex4, INCLUDES_HEADER, LITTLE_ENDIAN, LengthField, Netstrings, Prefixed,
        UntilEof, Varint, delimiter, length_field,
    },
    server_protocol,
};

const END: u128 = delimiter(b"\r\n.\r\n");
type Sixteen = Fixed<{ 4 * 4 }>;

#[server_protocol(framing = CrlfLines)]
fn strict(request: &str) -> &str {
    request
}

#[server_protocol(framing = Delimited<{ delimiter(b";") }>)]
fn semicolons(request: &str) -> &str {
    request
}

#[server_protocol(framing = Delimited<END>)]
fn mails(request: &str) -> &str {
    request
}

#[server_protocol(framing = tcs::framing::Fixed<16>)]
fn blocks(request: &[u8]) -> &[u8] {
    request
}

#[server_protocol(framing = Sixteen)]
fn records(request: &[u8]) -> &[u8] {
    request
}

#[server_protocol(framing = Netstrings)]
fn strings(request: &str) -> &str {
    request
}

#[server_protocol(Plain4, framing = Prefixed<4>)]
fn plain(request: &[u8]) -> &[u8] {
    request
}

#[server_protocol(framing = Prefixed<2, LITTLE_ENDIAN>)]
fn little(request: &[u8]) -> &[u8] {
    request
}

#[server_protocol(framing = Prefixed<1, INCLUDES_HEADER>)]
fn counted(request: &[u8]) -> &[u8] {
    request
}

const MODBUS: u128 = length_field(2).offset(4).pack();

#[server_protocol(framing = LengthField<MODBUS>)]
fn units(request: &[u8]) -> &[u8] {
    request
}

#[server_protocol(framing = LengthField<{ length_field(3).little_endian().adjustment(1).skip(4).pack() }>)]
fn packets(request: &[u8]) -> &[u8] {
    request
}

#[server_protocol(framing = Varint)]
fn varints(request: &[u8]) -> &[u8] {
    request
}

#[server_protocol(framing = Varint<1>)]
fn typed(request: &[u8]) -> &[u8] {
    request
}

#[server_protocol(framing = Digits<b' '>)]
fn counted_in_digits(request: &str) -> &str {
    request
}

#[server_protocol(framing = Hex4)]
fn git_lines(request: &str) -> &str {
    request
}

/// With a type parameter, which a framing cannot name.
#[server_protocol(framing = Prefixed<1>)]
fn stated<T: ToString + Send + Sync + 'static>(request: u8, #[state] state: &T) -> String {
    format!("{request} {}", state.to_string())
}

#[server_protocol(framing = UntilEof)]
async fn files(request: &[u8]) -> usize {
    request.len()
}

#[client_protocol(framing = Fixed<16>, request = [0; 16])]
fn block(reply: &[u8]) -> usize {
    reply.len()
}

#[client_protocol(server = Files, request = &b"a file"[..])]
fn file(reply: usize) -> usize {
    reply
}

fn main() {
    assert_eq!(little(b"ab"), b"ab");
}

//! The library, with its defaults.

use tcs::server_protocol;

/// Borrows and returns.
#[server_protocol]
pub fn echo(bytes: &[u8]) -> &[u8] {
    bytes
}

/// Makes a `String` of each request, as functions do.
#[server_protocol]
pub fn echo_text(text: &str) -> String {
    text.to_owned()
}

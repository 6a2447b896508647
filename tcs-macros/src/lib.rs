//! The attributes of `tcs`; use them through that crate.

use proc_macro::TokenStream;

/// Turns a function into a server protocol.
#[proc_macro_attribute]
pub fn server_protocol(_args: TokenStream, item: TokenStream) -> TokenStream {
    item
}

/// Turns a function into a client protocol.
#[proc_macro_attribute]
pub fn client_protocol(_args: TokenStream, item: TokenStream) -> TokenStream {
    item
}

//! What `tcs-macros` does with tokens. A crate of macros cannot be called, so this has its modules.

#[path = "../../tcs-macros/src/attribute.rs"]
mod attribute;
#[path = "../../tcs-macros/src/errors.rs"]
mod errors;
#[path = "../../tcs-macros/src/expand/mod.rs"]
mod expand;
#[path = "../../tcs-macros/src/item/mod.rs"]
mod item;
#[path = "../../tcs-macros/src/model/mod.rs"]
mod model;
#[path = "../../tcs-macros/src/options/mod.rs"]
mod options;
#[path = "../../tcs-macros/src/spans.rs"]
mod spans;
#[path = "../../tcs-macros/src/syntax/mod.rs"]
mod syntax;

use proc_macro2::TokenStream;

use crate::options::Side;

/// Returns what `#[server_protocol(options)]` makes of an item.
pub fn server_protocol(options: TokenStream, item: TokenStream) -> TokenStream {
    attribute::expand_attribute(Side::Server, options, item)
}

/// Returns what `#[client_protocol(options)]` makes of an item.
pub fn client_protocol(options: TokenStream, item: TokenStream) -> TokenStream {
    attribute::expand_attribute(Side::Client, options, item)
}

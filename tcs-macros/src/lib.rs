//! The attributes of `tcs`; use them through that crate, where they are documented.
//!
//! What was written is parsed (`args`, `item`), checked, collecting every mistake (`model`), and expanded
//! (`expand`). A function is checked as one exchange, and a module of functions as
//! several; both make one type. How errors reach the right place is said in `aim`.

mod aim;
mod args;
mod errors;
mod expand;
mod generics;
mod item;
mod lifetimes;
mod model;
mod parameter;
#[cfg(test)]
mod tests;
mod types;
mod words;

use proc_macro::TokenStream;

use crate::args::Attribute;

#[expect(missing_docs, reason = "they are where `tcs` re-exports it")]
#[proc_macro_attribute]
pub fn server_protocol(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Attribute::Server, args.into(), item.into()).into()
}

#[expect(missing_docs, reason = "they are where `tcs` re-exports it")]
#[proc_macro_attribute]
pub fn client_protocol(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Attribute::Client, args.into(), item.into()).into()
}

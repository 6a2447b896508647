//! The attributes of `tcs`; use them through that crate, where they are documented.
//!
//! Each attribute goes through the same stages (`stages`): **parse** what was written (`args`, `item`),
//! **check** it, collecting every mistake (`server::model`, `client::model`), **expand** what was
//! checked, which cannot fail (`server::expand`, `client::expand`).
//!
//! Every user compiles this crate, and without optimisation. So lists become tokens in loops, lists of
//! `syn` are walked in pairs, and what needs no type of its own takes a `dyn`: each adaptor of an
//! iterator, and each boxed iterator of `syn`, is compiled anew for each closure and type.

mod args;
mod checks;
mod client;
mod emit;
mod errors;
mod generics;
mod item;
mod lifetimes;
mod names;
mod operations;
mod options;
mod parameter;
mod parsing;
mod server;
mod spans;
mod stages;
#[cfg(test)]
mod tests;

use proc_macro::TokenStream;

#[expect(missing_docs, reason = "they are where `tcs` re-exports it")]
#[proc_macro_attribute]
pub fn server_protocol(args: TokenStream, item: TokenStream) -> TokenStream {
    server::server_protocol(args.into(), item.into()).into()
}

#[expect(missing_docs, reason = "they are where `tcs` re-exports it")]
#[proc_macro_attribute]
pub fn client_protocol(args: TokenStream, item: TokenStream) -> TokenStream {
    client::client_protocol(args.into(), item.into()).into()
}

//! Writes the user's item again, and the generated items.

mod call;
mod checks;
mod client_function;
mod describe;
mod item;
mod message_serde;
mod message_stream;
mod messages;
mod names;
mod operations_client;
mod options;
mod protocol_type;
mod server;
mod trait_impl;

use std::env;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};

use crate::{
    item::other_type,
    model::{Model, ModelItem, operations::Operations},
    options::{Options, Side},
    spans::{Library, start_of},
};

/// A variable that `cargo clippy` sets.
const CLIPPY: &str = "CLIPPY_ARGS";

/// Returns an attribute that is only for clippy. rustc takes long to find out that it does not know a lint of clippy.
fn in_clippy(attribute: impl FnOnce() -> TokenStream) -> Option<TokenStream> {
    env::var_os(CLIPPY).map(|_| attribute())
}

/// Writes an item and the items that are generated for it.
pub(crate) fn expand(model: &Model<'_>) -> TokenStream {
    let (function, added) = match &model.item {
        ModelItem::Server(server) => (
            server.handler.function,
            server::expand_function(model, server),
        ),
        ModelItem::Client(client) => (client.function, client_function::expand(model, client)),
        ModelItem::WithoutType(function) => (*function, TokenStream::new()),
        ModelItem::Operations(operations) => return module(model, operations),
    };
    [item::write_function(model.options, function), added]
        .into_iter()
        .collect()
}

/// Writes an item from which no protocol is made. A type becomes a protocol nevertheless, so that a server of it causes
/// no further error.
pub(crate) fn expand_other(options: &Options, mut item: TokenStream) -> TokenStream {
    let ty = other_type(item.clone()).filter(|_| options.side == Side::Server);
    let private = options.library.module(Span::mixed_site());
    item.extend(ty.map(|ty| quote!(#private::unserved! { #ty })));
    item
}

/// Writes a module with its messages, their client and, unless the functions are left out, a server.
fn module(model: &Model<'_>, operations: &Operations<'_>) -> TokenStream {
    let mut added = messages::expand(model.options, operations);
    added.extend(operations_client::expand(model.options, operations));
    let server = operations.server.as_ref();
    added.extend(server.map(|server| server::expand_module(model, operations, server)));
    added.extend(server.and_then(|_| describe::description(model.options, operations)));
    item::write_module(model.options, operations, &added)
}

/// Writes an encoder that evaluates `value` as it encodes, so that the temporaries from which the value borrows live
/// long enough. Errors about the value are at `written`.
fn encoder(library: &Library, written: &impl ToTokens, value: &impl ToTokens) -> TokenStream {
    let span = start_of(written);
    let (private, encode) = (library.module(span), library.item("Encode", written));
    quote_spanned! {span=>
        #private::encoder(move |out| #private::Encoded(
            #encode::<Self::Format>::encode(#value, out)
        ))
    }
}

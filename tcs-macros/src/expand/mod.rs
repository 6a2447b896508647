//! Writes the item as it was, and what is added to it.

mod call;
mod client_function;
mod item;
mod message_serde;
mod messages;
mod operations_client;
mod option_checks;
mod parts;
mod protocol_type;
mod requirements;
mod server;

use proc_macro2::TokenStream;

use crate::{
    args::Args,
    model::{Model, operations::Operations},
};

/// Writes an item and what is added to it.
pub(crate) fn expand(args: &Args, model: &Model<'_>) -> TokenStream {
    let (function, added) = match model {
        Model::Server(server) => (server.handler.function, server::function(server)),
        Model::Client(client) => (client.function, client_function::expand(client)),
        Model::WithoutType(function) => (*function, TokenStream::new()),
        Model::Operations(operations) => {
            let added = operations_items(args, operations);
            return item::module(args, operations.module, &added);
        }
        Model::Other(tokens) => return (*tokens).clone(),
    };
    let mut tokens = item::function(args, function);
    tokens.extend(added);
    tokens
}

/// Writes what is added to a module: the messages, their client and, unless the functions are left out,
/// a server.
fn operations_items(args: &Args, operations: &Operations<'_>) -> TokenStream {
    let mut generated = messages::expand(args, operations);
    generated.extend(operations_client::expand(args, operations));
    let server = operations.protocol.as_ref();
    generated.extend(server.map(|protocol| server::module(operations, protocol)));
    generated
}

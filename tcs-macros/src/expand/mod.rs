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
        Model::Operations(operations) => return module(args, operations),
        Model::Other(tokens) => return (*tokens).clone(),
    };
    let mut tokens = item::function(args, function);
    tokens.extend(added);
    tokens
}

/// Writes a module with its messages, their client and, unless the functions are left out, a server.
fn module(args: &Args, operations: &Operations<'_>) -> TokenStream {
    let mut added = messages::expand(args, operations);
    added.extend(operations_client::expand(args, operations));
    let server = operations.server.as_ref();
    added.extend(server.map(|parts| server::module(operations, parts)));
    item::module(args, operations.module, &added)
}

//! `#[client_protocol]`.

mod expand;
mod fields;
mod halves;
mod model;

use proc_macro2::TokenStream;

use crate::{args::Args, errors::Errors, item::Function, names::type_name, options::Attribute};

const NAME: &str = "client_protocol";

/// Expands to the function as written, followed by a type that implements `ClientProtocol`, followed
/// by what is wrong; see [`server_protocol`](crate::server::server_protocol).
pub(crate) fn client_protocol(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let args = Args::parse(Attribute::Client, args, &mut errors);
    let function = match Function::parse(NAME, item.clone()) {
        Ok(function) => function,
        Err(error) => {
            errors.push(error);
            return [item, errors.into_compile_errors()].into_iter().collect();
        }
    };
    function.check(NAME, &mut errors);
    let name = type_name(&args, &function, NAME, &mut errors);
    let mut tokens = function.kept(&args);
    if let Some(name) = name.filter(|_| !function.is_member()) {
        let model = model::check(&args, &function, &mut errors);
        tokens.extend(expand::expand(
            &args,
            &function,
            &name,
            &model,
            errors.is_empty(),
        ));
    }
    tokens.extend(errors.into_compile_errors());
    tokens
}

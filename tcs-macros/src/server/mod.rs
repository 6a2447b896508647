//! `#[server_protocol]`.

mod expand;
mod model;
mod parameters;

use proc_macro2::TokenStream;

use crate::{args::Args, errors::Errors, item::Function, names::type_name, options::Attribute};

const NAME: &str = "server_protocol";

/// Expands to the function as written, followed by a type that implements `ServerProtocol`, followed
/// by what is wrong.
///
/// Whatever is wrong, the function is kept; and once its name is known, so is the type. A mistake
/// in one place must not become an error at every use.
pub(crate) fn server_protocol(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let args = Args::parse(Attribute::Server, args, &mut errors);
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

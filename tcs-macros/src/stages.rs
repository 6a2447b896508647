//! The stages that both attributes go through.

use proc_macro2::{Ident, TokenStream};

use crate::{args::Args, errors::Errors, item::Function, names::type_name, options::Attribute};

/// Expands to the function as written, followed by the type that `add` makes of it, followed by what
/// is wrong.
///
/// Whatever is wrong, the function is kept; and once its name is known, so is the type. A mistake
/// in one place must not become an error at every use.
pub(crate) fn expand(
    attribute: Attribute,
    args: TokenStream,
    item: TokenStream,
    add: fn(&Args, &Function, &Ident, &mut Errors) -> TokenStream,
) -> TokenStream {
    let mut errors = Errors::default();
    let args = Args::parse(attribute, args, &mut errors);
    let function = match Function::parse(attribute.name(), item.clone()) {
        Ok(function) => function,
        Err(error) => {
            errors.push(error);
            return errors.behind(item);
        }
    };
    function.check(attribute.name(), &mut errors);
    function.check_body(&mut errors);
    let name = type_name(&args, &function, attribute.name(), &mut errors);
    let mut tokens = function.kept(&args);
    if let Some(name) = name.filter(|_| !function.is_member()) {
        tokens.extend(add(&args, &function, &name, &mut errors));
    }
    errors.behind(tokens)
}

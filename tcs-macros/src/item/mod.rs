//! The item under an attribute, as it was written.

mod function;
mod handles;
mod module;

use proc_macro2::TokenStream;
use syn::{
    Ident, Token, Type,
    parse::{ParseStream, Parser as _},
    parse_quote,
};

pub(crate) use self::{
    function::Function,
    handles::correct_handles,
    module::{GENERATED, Module, ModuleItem},
};
use crate::{errors::Errors, options::Side, syntax::fork_at_keyword};

/// Returns the type that an item declares or implements, if it has no parameters: the program probably serves it.
pub(crate) fn other_type(item: TokenStream) -> Option<Type> {
    let named = |name: Ident| parse_quote!(#name);
    let (ty, generics) = match syn::parse2(item).ok()? {
        syn::Item::Impl(item) if item.trait_.is_none() => (*item.self_ty, item.generics),
        syn::Item::Struct(item) => (named(item.ident), item.generics),
        syn::Item::Enum(item) => (named(item.ident), item.generics),
        _ => return None,
    };
    generics.params.is_empty().then_some(ty)
}

/// An item under an attribute.
#[expect(clippy::large_enum_variant, reason = "there is one of it")]
pub(crate) enum Item {
    Function(Function),
    Module(Module),
}

impl Item {
    /// Parses a function or a module. Reports any other item, or an item that does not parse, and returns `None`.
    pub(crate) fn parse(side: Side, tokens: TokenStream, errors: &mut Errors) -> Option<Self> {
        let parse = |input: ParseStream<'_>| {
            if Function::is_next(input) {
                Ok(Function::parse(input, errors)?.map(Self::Function))
            } else if fork_at_keyword(input)?.peek(Token![mod]) {
                Ok(Some(Self::Module(Module::parse(input, errors)?)))
            } else {
                // The error is at the keyword of the item, such as `struct` or `impl`.
                let keyword = fork_at_keyword(input)?;
                keyword.parse::<Option<Token![unsafe]>>()?;
                let help = if keyword.peek(Token![impl]) || keyword.peek(Token![trait]) {
                    "is for functions: write `mod name { pub fn … }` instead"
                } else {
                    "belongs before a function: `fn greet(name: &str) -> String`"
                };
                Err(keyword.error(format_args!("`{}` {help}", side.attribute())))
            }
        };
        let parsed = parse.parse2(tokens);
        errors.ok(parsed).flatten()
    }
}

//! The item under an attribute, as it was written.

mod function;
mod module;

use proc_macro2::TokenStream;
use syn::{
    Attribute, Result, Token, Visibility,
    parse::{ParseBuffer, ParseStream, Parser as _},
};

pub(crate) use self::{
    function::Function,
    module::{Module, ModuleItem},
};
use crate::{args::Side, errors::Errors};

/// An item under an attribute.
#[expect(clippy::large_enum_variant, reason = "there is one of it")]
pub(crate) enum Item {
    Function(Function),
    Module(Module),
    /// Something else, or what does not parse; this has been reported.
    Other(TokenStream),
}

impl Item {
    /// Parses an item, or reports what is there instead of a function or a module.
    pub(crate) fn parse(side: Side, tokens: TokenStream, errors: &mut Errors) -> Self {
        let parse = |input: ParseStream<'_>| {
            if Function::is_next(input) {
                Function::parse(input, errors).map(Self::Function)
            } else if keyword(input)?.peek(Token![mod]) {
                Module::parse(input, errors).map(Self::Module)
            } else {
                // At the word that says what it is instead: `struct`, `impl`.
                let keyword = keyword(input)?;
                keyword.parse::<Option<Token![unsafe]>>()?;
                let help = "belongs before a function: `fn greet(name: &str) -> String`";
                Err(keyword.error(format_args!("`{}` {help}", side.attribute())))
            }
        };
        parse.parse2(tokens.clone()).unwrap_or_else(|error| {
            errors.push(error);
            Self::Other(tokens)
        })
    }
}

/// Returns a fork of the input, from the first keyword of an item on.
fn keyword(input: ParseStream<'_>) -> Result<ParseBuffer<'_>> {
    let ahead = input.fork();
    ahead.call(Attribute::parse_outer)?;
    ahead.parse::<Visibility>()?;
    Ok(ahead)
}

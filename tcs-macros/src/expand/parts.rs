//! What the writers share.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Expr, Generics, Type};

use crate::{
    aim::{self, Library, at},
    args::Args,
    lifetimes,
};

/// An identifier that the user's code can name.
pub(super) fn generated(name: &str) -> Ident {
    Ident::new(name, Span::call_site())
}

/// The given type, or else the default.
pub(super) fn or_else(given: Option<&Type>, default: TokenStream) -> TokenStream {
    given.map_or(default, ToTokens::to_token_stream)
}

/// The framing of a server or of operations.
pub(super) fn framing(args: &Args, span: Span) -> TokenStream {
    let private = args.library.at(span);
    let default = quote_spanned!(span=> #private::LengthPrefixed);
    or_else(args.framing.as_ref(), default)
}

/// An encoder that evaluates the expression as it encodes, so that what the expression borrows from
/// its own temporaries lives long enough.
pub(super) fn sending(args: &Args, format: &TokenStream, expression: &Expr) -> TokenStream {
    let span = at(expression);
    let private = args.library.at(span);
    let encode = args.library.item("Encode", expression);
    quote_spanned! {span=>
        #private::sending(move |out| {
            #encode::<#format>::encode(#expression, out)
        })
    }
}

/// What generated code may do.
pub(super) fn allowance(span: Span) -> TokenStream {
    quote_spanned! {span=>
        #[allow(
            deprecated, unused_variables, clippy::all, clippy::pedantic, clippy::nursery,
            reason = "it is generated"
        )]
    }
}

/// The where clause of what is implemented: that of the generics, and the bounds.
pub(super) fn where_clause(span: Span, generics: &Generics, bounds: &TokenStream) -> TokenStream {
    let clause = generics.where_clause.iter();
    let predicates = clause.flat_map(|clause| &clause.predicates);
    quote_spanned!(span=> where #(#predicates,)* #bounds)
}

/// What the types that a protocol keeps must be: the bounds of its implementation, and what checks them.
///
/// A bound that does not hold is an error, and taken as given by what follows from it. Where the type
/// has no parameters, it would be one for each trait that it stands for; so there it is bound in a way that
/// rustc does not check, and checked once. A type with a lifetime is not bound: the compiler would use that
/// to prove that any reference is `Send`, and then demand that very lifetime of it.
pub(super) struct Kept<'a> {
    library: &'a Library,
    generics: &'a Generics,
    /// The function or the module.
    place: &'a Ident,
    pub(super) bounds: TokenStream,
    pub(super) checks: Vec<TokenStream>,
}

impl<'a> Kept<'a> {
    /// Says what each type parameter must be.
    pub(super) fn new(
        library: &'a Library,
        generics: &'a Generics,
        place: &'a Ident,
        item: &str,
    ) -> Self {
        let bounds = generics
            .type_params()
            .map(|param| library.bound(&param.ident, item));
        Self {
            library,
            generics,
            place,
            bounds: bounds.collect(),
            checks: Vec::new(),
        }
    }

    /// Says what a type must be: `item` is a trait, and `check` a function that has it as a bound.
    pub(super) fn add(&mut self, ty: &Type, item: &str, check: &str) {
        let bound = self.library.bound(ty, item);
        if !lifetimes::find(ty).is_empty() {
            return;
        }
        if !self.generics.params.is_empty() {
            self.bounds.extend(bound);
            return;
        }
        self.bounds.extend(quote!(for<'tcs> #bound));
        let name = format!("__Kept{}", self.checks.len());
        let [declared, alias] = aim::alias(self.place, &name, ty);
        let check = self.library.item(check, ty);
        self.checks.push(quote_spanned! {at(ty)=>
            #declared
            const _: fn() = #check::<#alias>;
        });
    }
}

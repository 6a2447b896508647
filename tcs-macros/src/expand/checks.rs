//! Writes checks that only the compiler can make: of the options, and of the types that a protocol
//! keeps. They are made where the protocol is written, also if nobody uses it.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::{Type, TypeParam};

use super::shape::Shape;
use crate::{
    aim::{alias, at},
    args::Attribute,
    model::generics::names,
    syntax::lifetimes,
};

/// Checks the options of a protocol against each other.
///
/// A constant cannot name the parameters of the type, and would repeat an error about a type that the
/// protocol keeps. The library checks such a protocol where it is used.
pub(super) fn check_options(shape: &Shape<'_>, requirements: &Requirements<'_>) -> TokenStream {
    let mut checks = TokenStream::new();
    if !names(shape.generics).is_empty() {
        return checks;
    }
    let (args, name) = (shape.args, shape.name);
    let lifetimes = shape.generics.lifetimes().map(|_| quote!('_));
    let ty = quote!(#name<#(#lifetimes),*>);
    let mut check = |place: &dyn ToTokens, mistake: TokenStream| {
        checks.extend(quote_spanned! {at(place)=>
            const _: () = if let ::core::option::Option::Some(mistake) = #mistake {
                ::core::panic!("{}", mistake)
            };
        });
    };
    if let Some(path) = &args.reject_with {
        let mistake = args.library.item("reject_with_mistake", path);
        check(path, quote!(#mistake::<#ty>()));
    }
    let is_alone = requirements.checks.is_empty();
    let format = args.format.as_ref().filter(|_| is_alone);
    if let Some(given) = args.framing.as_ref().or(format) {
        let (trait_name, mistake) = match args.attribute {
            Attribute::Server => ("ServerProtocol", "server_mistake"),
            Attribute::Client => ("ClientProtocol", "client_mistake"),
        };
        let [protocol, mistake] = [trait_name, mistake].map(|item| args.library.item(item, given));
        let private = args.library.at(at(given));
        let mistake = quote_spanned! {at(given)=> {
            #[allow(unused_imports, reason = "it is for types that are not the same")]
            use #private::OtherPair as _;
            #mistake::<#ty>(#private::Pair::<
                <#ty as #protocol>::Framing, <#ty as #protocol>::Format,
            >::IS_ONE_TYPE)
        }};
        check(given, mistake);
    }
    checks
}

/// What the types that a protocol keeps must be: bounds of its implementation, and checks beside it.
///
/// A bound that does not hold is one error, and what follows from it is taken as given. But of a type
/// without parameters, rustc would report each trait that the bound implies. So there the bound is
/// written in a way that rustc does not check, and checked once. A type with a lifetime has no bound:
/// rustc would use the bound to prove that any reference is `Send`, and then demand that very lifetime
/// of it.
pub(super) struct Requirements<'a> {
    shape: &'a Shape<'a>,
    pub(super) bounds: TokenStream,
    pub(super) checks: Vec<TokenStream>,
}

impl<'a> Requirements<'a> {
    /// Requires `trait_name` of each type parameter.
    pub(super) fn new(shape: &'a Shape<'a>, trait_name: &str) -> Self {
        let params = shape.generics.type_params();
        let bound = |param: &TypeParam| shape.args.library.bound(&param.ident, trait_name);
        Self {
            shape,
            bounds: params.map(bound).collect(),
            checks: Vec::new(),
        }
    }

    /// Requires `trait_name` of a type; `check` is a function of the library with that bound.
    pub(super) fn add(&mut self, ty: &Type, trait_name: &str, check: &str) {
        if !lifetimes::find(ty).is_empty() {
            return;
        }
        let library = &self.shape.args.library;
        let bound = library.bound(ty, trait_name);
        if !self.shape.generics.params.is_empty() {
            self.bounds.extend(bound);
            return;
        }
        self.bounds.extend(quote!(for<'tcs> #bound));
        let name = format!("__Kept{}", self.checks.len());
        let [declared, alias] = alias(&self.shape.origin.place, &name, ty);
        let check = library.item(check, ty);
        self.checks.push(quote_spanned! {at(ty)=>
            #declared
            const _: fn() = #check::<#alias>;
        });
    }
}

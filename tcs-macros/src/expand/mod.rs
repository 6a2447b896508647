//! Writes what was checked; this cannot fail.

mod call;
mod checks;
mod client;
mod messages;
mod methods;
mod server;
mod shape;

use std::mem;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Generics, Type, parse_quote_spanned};

use crate::{
    aim::{self, Library, at, at_end},
    args::{Args, Attribute},
    errors::Errors,
    item::{Function, Module},
    lifetimes,
    model::operations::Operations,
    names::type_name,
};

/// Expands to the item as written, followed by what is made of it, followed by what is wrong.
///
/// Whatever is wrong, the item is kept; and once its name is known, so is the type. A mistake in one
/// place must not become an error at every use.
pub(crate) fn expand(attribute: Attribute, args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let args = Args::parse(attribute, args, &mut errors);
    let expanded = if Module::is_one(&item) {
        syn::parse2(item.clone()).map(|mut parsed: Module| {
            parsed.wrong.drain(..).for_each(|error| errors.push(error));
            module(attribute, args, &parsed, &mut errors)
        })
    } else {
        let parsed = Function::of(attribute, item.clone());
        parsed.map(|parsed| function(attribute, &args, &parsed, &mut errors))
    };
    let tokens = expanded.unwrap_or_else(|error| {
        errors.push(error);
        item
    });
    errors.after(tokens)
}

/// Adds a type to a function.
fn function(
    attribute: Attribute,
    args: &Args,
    function: &Function,
    errors: &mut Errors,
) -> TokenStream {
    function.check(attribute, errors);
    if !function.has_body() {
        let cure = "a protocol function has a body: write `{ … }`";
        errors.at(&function.sig.ident, cure);
    }
    let name = type_name(args, function, attribute.name(), errors);
    let mut tokens = function.kept(args);
    if let Some(name) = name.filter(|_| !function.is_member()) {
        tokens.extend(match attribute {
            Attribute::Server => server::function(args, function, &name, errors),
            Attribute::Client => client::function(args, function, &name, errors),
        });
    }
    tokens
}

/// Adds to a module of functions its messages, their client and, unless they are left out, a server.
fn module(
    attribute: Attribute,
    mut args: Args,
    module: &Module,
    errors: &mut Errors,
) -> TokenStream {
    let mut operations = Operations::check(attribute, &args, module, errors);
    let options = name_options(&mut args);
    let mut generated = TokenStream::new();
    if !module.clashes(errors) {
        generated.extend(messages::expand(&args, &operations));
        generated.extend(methods::expand(&args, module, &operations));
        if attribute == Attribute::Server {
            let is_right = errors.is_empty();
            generated.extend(server::module(&args, module, &mut operations, is_right));
        }
    }
    module.with(attribute, &args, &quote!(#options #generated))
}

/// Names the types in the options, so that they mean what they mean around the module, where the
/// attribute stands, or else what they mean in it.
fn name_options(args: &mut Args) -> Option<TokenStream> {
    let framing = args.framing.as_mut().map(|ty| alias("Framing", ty));
    let format = args.format.as_mut().map(|ty| alias("Format", ty));
    (framing.is_some() || format.is_some()).then(|| {
        quote! {
            mod __options {
                #[allow(unused_imports, clippy::wildcard_imports, reason = "either can name them")]
                use super::{*, super::*};
                #framing
                #format
            }
        }
    })
}

/// Declares a name for a type, and replaces it by that.
fn alias(name: &str, ty: &mut Type) -> TokenStream {
    let name = Ident::new(name, at_end(ty));
    let module = Ident::new("__options", at(ty));
    let named = parse_quote_spanned!(module.span()=> #module::#name);
    let written = mem::replace(ty, named);
    quote! {
        #[allow(dead_code, reason = "what names it may be wrong")]
        pub(super) type #name = #written;
    }
}

/// An identifier that the user's code can name.
fn generated(name: &str) -> Ident {
    Ident::new(name, Span::call_site())
}

/// The given type, or else the default.
fn or_else(given: Option<&Type>, default: TokenStream) -> TokenStream {
    given.map_or(default, ToTokens::to_token_stream)
}

/// The framing of a server or of operations.
fn framing(args: &Args, span: Span) -> TokenStream {
    let private = args.library.at(span);
    let default = quote_spanned!(span=> #private::LengthPrefixed);
    or_else(args.framing.as_ref(), default)
}

/// What generated code may do.
fn allowance(span: Span) -> TokenStream {
    quote_spanned! {span=>
        #[allow(
            deprecated, unused_variables, clippy::all, clippy::pedantic, clippy::nursery,
            reason = "it is generated"
        )]
    }
}

/// The where clause of what is implemented: that of the generics, and the bounds.
fn where_clause(span: Span, generics: &Generics, bounds: &TokenStream) -> TokenStream {
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
struct Kept<'a> {
    library: &'a Library,
    generics: &'a Generics,
    /// The function or the module.
    place: &'a Ident,
    bounds: TokenStream,
    checks: Vec<TokenStream>,
}

impl<'a> Kept<'a> {
    /// Says what each type parameter must be.
    fn new(library: &'a Library, generics: &'a Generics, place: &'a Ident, item: &str) -> Self {
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
    fn add(&mut self, ty: &Type, item: &str, check: &str) {
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

//! Writes the type of a protocol: the struct, `new`, `Debug`, and the head of its implementation.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::{Generics, Type, ext::IdentExt as _};

use super::{option_checks::option_checks, parts::allowance, requirements::Requirements};
use crate::{
    aim::{Alias, at, twin},
    model::{Field, protocol_type::ProtocolType},
    syntax::lifetimes,
};

/// Declares the type and implements its trait.
pub(super) fn declare(ty: &ProtocolType<'_>, implementation: &TokenStream) -> TokenStream {
    let (name, vis, attrs) = (&ty.name, &ty.vis, &ty.attrs);
    let (generics, fields) = (&ty.generics, &ty.fields);
    let span = at(name);
    let (text, where_clause) = (name.unraw().to_string(), &generics.where_clause);
    let (_, type_generics, _) = generics.split_for_impl();
    let applied = quote_spanned!(span=> #name #type_generics);
    // The name alone: a state may be secret, or have no `Debug`.
    let debug = debug(&applied, generics, &quote_spanned!(span=> #text));
    let declared = fields.iter().map(|Field { name, ty }| {
        let text = format!(" The parameter `{}`.", name.unraw());
        quote!(#[doc = #text] #vis #name: #ty)
    });
    let body = if fields.is_empty() {
        quote!(;)
    } else {
        quote!({ #(#declared,)* })
    };
    let new = (!fields.is_empty()).then(|| new_function(ty));
    let allowance = allowance(span);
    quote_spanned! {span=>
        #attrs
        #[allow(clippy::exhaustive_structs, unreachable_pub, reason = "it is what the function is")]
        #vis struct #name #generics #where_clause #body
        #new
        #allowance
        const _: () = {
            #debug
            #implementation
        };
    }
}

fn new_function(ty: &ProtocolType<'_>) -> TokenStream {
    let (span, vis) = (at(&ty.name), &ty.vis);
    let [impl_twin, new] = ["impl", "new"].map(|word| twin(word, ty.place));
    let (impl_generics, type_generics, where_clause) = ty.generics.split_for_impl();
    let (name, fields) = (&ty.name, ty.fields.iter());
    let names = fields.clone().map(|field| &field.name);
    let parameters = fields.map(|Field { name, ty }| quote_spanned!(span=> #name: #ty));
    quote_spanned! {span=>
        #[automatically_derived]
        #[allow(deprecated, reason = "the function may be")]
        #impl_twin #impl_generics #name #type_generics #where_clause {
            /// Creates the protocol from what its function borrows or takes besides messages.
            #[must_use]
            #[allow(
                dead_code, unreachable_pub, clippy::too_many_arguments,
                reason = "each protocol with fields has it"
            )]
            #vis const fn #new(#(#parameters),*) -> Self {
                Self { #(#names),* }
            }
        }
    }
}

/// The associated type of a message.
pub(super) struct MessageItem {
    /// Declares the alias of the type, if it has one; outside of the implementation.
    pub(super) declaration: Option<TokenStream>,
    pub(super) item: TokenStream,
}

impl MessageItem {
    /// Writes the associated type of this name.
    ///
    /// A lifetime that is hidden in the type is then reported as in the function itself ([`Alias`]). An
    /// error about the whole item, such as that the type is private, is reported at the type.
    pub(super) fn new(protocol: &ProtocolType<'_>, name: &str, message: &Type) -> Self {
        // An alias has no parameters, so it cannot name those of the protocol or of an exchange.
        let is_plain = protocol.generics.params.is_empty() && lifetimes::find(message).is_empty();
        let alias = is_plain.then(|| Alias::new(protocol.place, &format!("__{name}"), message));
        let (declaration, path) = alias.map(|alias| (alias.declaration, alias.path)).unzip();
        let used = path.unwrap_or_else(|| message.to_token_stream());
        let name = Ident::new(name, at(message));
        Self {
            declaration,
            item: quote_spanned!(at(message)=> type #name<'exchange> = #used;),
        }
    }
}

/// Implements the trait of the attribute, with `items` in it. What is wrong with the implementation
/// as a whole is reported at `span`.
pub(super) fn implement(
    ty: &ProtocolType<'_>,
    span: Span,
    requirements: &Requirements<'_>,
    items: &TokenStream,
) -> TokenStream {
    let (name, private) = (&ty.name, ty.private(span));
    let trait_name = Ident::new(ty.args.side.trait_name(), span);
    let impl_twin = twin("impl", ty.place);
    let (impl_generics, type_generics, where_clause) = ty.generics.split_for_impl();
    let predicates = where_clause.iter().flat_map(|clause| &clause.predicates);
    let Requirements { bounds, checks, .. } = requirements;
    // Beside the implementation and in the same `const _`, where the aliases are in scope.
    let options = option_checks(ty, requirements);
    quote_spanned! {span=>
        #options
        #(#checks)*

        #[automatically_derived]
        #impl_twin #impl_generics #private::#trait_name for #name #type_generics
        where
            #(#predicates,)*
            #bounds
        {
            #items
        }
    }
}

/// Implements `Debug` by writing the text of an expression.
pub(super) fn debug(ty: &TokenStream, generics: &Generics, text: &TokenStream) -> TokenStream {
    let (impl_generics, _, where_clause) = generics.split_for_impl();
    quote_spanned! {at(ty)=>
        #[automatically_derived]
        impl #impl_generics ::core::fmt::Debug for #ty #where_clause {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str(#text)
            }
        }
    }
}

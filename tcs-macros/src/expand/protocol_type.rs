//! Writes the type of a protocol: the struct, `new`, `Debug`, and the head of its implementation.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::{Generics, Type, ext::IdentExt as _};

use super::{option_checks::option_checks, parts::allowance, requirements::Requirements};
use crate::{
    aim::{alias, at, twin},
    model::{Field, protocol_type::ProtocolType},
    syntax::lifetimes,
};

/// Declares the type and implements its trait.
pub(super) fn declare(target: &ProtocolType<'_>, implementation: &TokenStream) -> TokenStream {
    let (name, vis, attrs) = (&target.name, &target.vis, &target.attrs);
    let (generics, fields) = (&target.generics, &target.fields);
    let span = at(name);
    let (text, where_clause) = (name.unraw().to_string(), &generics.where_clause);
    let (_, type_generics, _) = generics.split_for_impl();
    let applied = quote_spanned!(span=> #name #type_generics);
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
    let new = (!fields.is_empty()).then(|| new_function(target));
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

fn new_function(target: &ProtocolType<'_>) -> TokenStream {
    let (span, vis) = (at(&target.name), &target.vis);
    let [twin, new] = ["impl", "new"].map(|word| twin(word, target.place));
    let (impl_generics, type_generics, where_clause) = target.generics.split_for_impl();
    let (name, fields) = (&target.name, target.fields.iter());
    let names = fields.clone().map(|field| &field.name);
    let parameters = fields.map(|Field { name, ty }| quote_spanned!(span=> #name: #ty));
    quote_spanned! {span=>
        #[automatically_derived]
        #[allow(deprecated, reason = "the function may be")]
        #twin #impl_generics #name #type_generics #where_clause {
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

/// Returns what has to be declared for the type of a message, and the associated type of this name.
///
/// A lifetime that is hidden in the type is then reported as in the function itself ([`alias`]). An
/// error about the whole item, such as that the type is private, is reported at the type.
pub(super) fn message_items(target: &ProtocolType<'_>, name: &str, ty: &Type) -> [TokenStream; 2] {
    let is_plain = target.generics.params.is_empty() && lifetimes::find(ty).is_empty();
    let [declared, used] = if is_plain {
        alias(target.place, &format!("__{name}"), ty)
    } else {
        [TokenStream::new(), ty.to_token_stream()]
    };
    let name = Ident::new(name, at(ty));
    [
        declared,
        quote_spanned!(at(ty)=> type #name<'exchange> = #used;),
    ]
}

/// Implements the trait of the attribute, with `items` in it. What is wrong with the implementation
/// as a whole is reported at `span`.
pub(super) fn implement(
    target: &ProtocolType<'_>,
    span: Span,
    requirements: &Requirements<'_>,
    items: &TokenStream,
) -> TokenStream {
    let name = &target.name;
    let private = target.args.library.at(span);
    let protocol = Ident::new(target.args.side.protocol(), span);
    let twin = twin("impl", target.place);
    let (impl_generics, type_generics, where_clause) = target.generics.split_for_impl();
    let predicates = where_clause.iter().flat_map(|clause| &clause.predicates);
    let Requirements { bounds, checks, .. } = requirements;
    let options = option_checks(target, requirements);
    quote_spanned! {span=>
        #options
        #(#checks)*

        #[automatically_derived]
        #twin #impl_generics #private::#protocol for #name #type_generics
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

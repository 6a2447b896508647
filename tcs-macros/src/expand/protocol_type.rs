//! Writes the type of a protocol: the struct, `new`, `Debug`, and the messages of its implementation.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::{Attribute, Type, TypeSlice, ext::IdentExt as _, parse_quote};

use super::in_clippy;
use crate::{
    model::protocol_type::{Field, ProtocolType},
    spans::{Library, alias, ident_at, place_of, start_of},
    syntax::{is_named, is_value, lifetimes},
};

/// Declares the type and implements its trait.
pub(super) fn declare(ty: &ProtocolType<'_>, implementation: &TokenStream) -> TokenStream {
    let (name, generics, vis) = (&ty.name, &ty.generics, &ty.vis);
    let attrs = kept_attrs(ty.attrs, &ty.docs);
    let fields: Vec<Field> = ty.fields.iter().map(owning_field).collect();
    let span = start_of(name);
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    let text = name.unraw().to_string();
    // `Debug` writes only the name, because a state may be secret, or have no `Debug`.
    let declared = fields.iter().map(|Field { name, ty }| {
        let text = format!(" The parameter `{}`.", name.unraw());
        quote!(#[doc = #text] #vis #name: #ty)
    });
    let new = (!fields.is_empty()).then(|| new_function(ty, &fields));
    let body = if fields.is_empty() {
        quote!(;)
    } else {
        quote!({ #(#declared,)* })
    };
    let allowed = in_clippy(|| quote!(#[allow(clippy::exhaustive_structs)]));
    let allowance = allowance(span);
    quote_spanned! {span=>
        #attrs
        #allowed
        #[allow(unreachable_pub, reason = "it is as visible as the function")]
        #vis struct #name #generics #where_clause #body
        #new
        #allowance
        const _: () = {
            #[automatically_derived]
            impl #impl_generics ::core::fmt::Debug for #name #type_generics #where_clause {
                fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                    f.write_str(#text)
                }
            }

            #implementation
        };
    }
}

fn new_function(ty: &ProtocolType<'_>, fields: &[Field]) -> TokenStream {
    let (name, vis, span) = (&ty.name, &ty.vis, place_of(&ty.name));
    let [keyword, new] = ["impl", "new"].map(|word| ident_at(ty.item_name, word));
    let (impl_generics, type_generics, where_clause) = ty.generics.split_for_impl();
    let names = fields.iter().map(|field| &field.name);
    let parameter = |Field { name, ty }: &Field| quote_spanned!(span=> #name: #ty);
    let parameters = fields.iter().map(parameter);
    let allowed = in_clippy(|| quote!(#[allow(clippy::too_many_arguments)]));
    quote_spanned! {span=>
        #[automatically_derived]
        #[allow(
            dead_code, deprecated, unreachable_pub,
            reason = "each protocol with fields has it, as deprecated as the function"
        )]
        #keyword #impl_generics #name #type_generics #where_clause {
            /// Creates the protocol from its fields.
            #[must_use]
            #allowed
            #vis const fn #new(#(#parameters),*) -> Self {
                Self { #(#names),* }
            }
        }
    }
}

/// Returns the field with a type that owns the borrowed value: a `String` for `str`.
fn owning_field(field: &Field) -> Field {
    let ty = match &field.ty {
        ty if is_named(ty, "str") => parse_quote!(::std::string::String),
        Type::Slice(TypeSlice { elem, .. }) => parse_quote!(::std::vec::Vec<#elem>),
        Type::TraitObject(object) => parse_quote!(::std::boxed::Box<#object>),
        ty => ty.clone(),
    };
    let name = field.name.clone();
    Field { name, ty }
}

/// Returns the attributes of a function that also apply to its generated items: `allow`, `deprecated` and
/// documentation, which is `docs` if there is none.
pub(super) fn kept_attrs(attrs: &[Attribute], docs: &str) -> TokenStream {
    let names = ["doc", "allow", "deprecated"];
    let is_kept = |attr: &&Attribute| names.iter().any(|name| attr.path().is_ident(name));
    let kept: Vec<_> = attrs.iter().filter(is_kept).collect();
    let has_docs = kept.iter().any(|attr| attr.path().is_ident("doc"));
    let docs = (!has_docs).then(|| quote!(#[doc = #docs]));
    quote!(#docs #(#kept)*)
}

/// Returns the type of a message, or the library's `Unknown` if there is an error in it.
pub(super) fn or_unknown(message: Option<&Type>, library: &Library, item_name: &Ident) -> Type {
    let unknown = || Type::Verbatim(library.item("Unknown", item_name).into_token_stream());
    message.cloned().unwrap_or_else(unknown)
}

/// Writes the associated type of this name, which is the type of a message. If it has an alias, also returns the
/// declaration of the alias, which belongs outside of the implementation.
///
/// With the alias, rustc reports a lifetime that is hidden in the type as in the function itself ([`alias`]). An error
/// about the whole item, such as that the type is private, is at the type.
pub(super) fn message_item(
    protocol: &ProtocolType<'_>,
    name: &str,
    message: &Type,
) -> (Option<TokenStream>, TokenStream) {
    // An alias has no parameters, so it cannot name the parameters of the protocol or the lifetime of an exchange. The
    // type of a value hides no lifetime.
    let has_alias = protocol.generics.params.is_empty()
        && lifetimes::find(message).is_empty()
        && !is_value(message);
    let (declaration, path) = has_alias
        .then(|| alias(protocol.item_name, &format!("__{name}"), message))
        .unzip();
    let used = path.unwrap_or_else(|| message.to_token_stream());
    let span = start_of(message);
    let name = Ident::new(name, span);
    let item = quote_spanned!(span=> type #name<'exchange> = #used;);
    (declaration, item)
}

/// The lints that generated code is exempt from.
pub(super) fn allowance(span: Span) -> TokenStream {
    let allowed = in_clippy(
        || quote_spanned!(span=> #[allow(clippy::all, clippy::pedantic, clippy::nursery)]),
    );
    quote_spanned! {span=>
        #allowed
        #[allow(deprecated, unused_variables, reason = "it is generated")]
    }
}

//! Writes the type of a protocol: the struct, `new`, `Debug`, and the head of its implementation.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::{Generics, Type, ext::IdentExt as _};

use super::{
    checks::{Requirements, check_options},
    parts::allowance,
};
use crate::{
    aim::{alias, at, twin},
    args::{Args, Attribute},
    item::{Function, Module},
    model::Field,
    syntax::lifetimes,
};

/// The type of a protocol.
pub(super) struct Shape<'a> {
    pub(super) args: &'a Args,
    pub(super) origin: Origin,
    pub(super) name: &'a Ident,
    pub(super) generics: &'a Generics,
    pub(super) fields: &'a [Field],
    /// Whether nothing is wrong with the item; otherwise the implementation consists of stubs.
    pub(super) is_valid: bool,
}

/// What a type has from the item that it is made of.
pub(super) struct Origin {
    /// The name of the function or the module.
    pub(super) place: Ident,
    vis: TokenStream,
    attrs: TokenStream,
}

impl Origin {
    pub(super) fn function(function: &Function) -> Self {
        let ident = &function.sig.ident;
        let docs = (!function.has_docs()).then(|| {
            let docs = format!(" The protocol of [`{0}`](fn@{0}).", ident.unraw());
            quote!(#[doc = #docs])
        });
        let attrs = function.attrs_of_type();
        Self {
            place: ident.clone(),
            vis: function.vis.to_token_stream(),
            attrs: quote!(#docs #attrs),
        }
    }

    pub(super) fn module(module: &Module) -> Self {
        let ident = module.ident.unraw();
        let docs = format!(" The protocol of the operations of `{ident}`, which a server serves.");
        Self {
            place: ident,
            vis: module.vis_inside(),
            attrs: quote!(#[doc = #docs]),
        }
    }
}

impl Shape<'_> {
    /// Declares the type and implements its trait.
    pub(super) fn declare(&self, implementation: &TokenStream) -> TokenStream {
        let (name, generics, fields) = (self.name, self.generics, self.fields);
        let (vis, attrs) = (&self.origin.vis, &self.origin.attrs);
        let span = at(name);
        let (text, where_clause) = (name.unraw().to_string(), &generics.where_clause);
        let (_, type_generics, _) = generics.split_for_impl();
        let ty = quote_spanned!(span=> #name #type_generics);
        let debug = debug(&ty, generics, &quote_spanned!(span=> #text));
        let declared = fields.iter().map(|Field { name, ty }| {
            let text = format!(" The parameter `{}`.", name.unraw());
            quote!(#[doc = #text] #vis #name: #ty)
        });
        let body = if fields.is_empty() {
            quote!(;)
        } else {
            quote!({ #(#declared,)* })
        };
        let new = (!fields.is_empty()).then(|| self.new_function());
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

    fn new_function(&self) -> TokenStream {
        let (span, vis) = (at(self.name), &self.origin.vis);
        let [twin, new] = ["impl", "new"].map(|word| twin(word, &self.origin.place));
        let (impl_generics, type_generics, where_clause) = self.generics.split_for_impl();
        let (name, fields) = (self.name, self.fields.iter());
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

    /// Returns the type of a message as an associated type, and what has to be declared for it. Without
    /// a type, the message is a stand-in for that of a function that is wrong.
    ///
    /// A lifetime that is hidden in the type is then reported as in the function itself ([`alias`]). An
    /// error about the whole item, such as that the type is private, is reported at the type.
    pub(super) fn message_type(&self, name: &str, given: Option<&Type>) -> [TokenStream; 2] {
        let unknown = Type::Verbatim(self.args.library.item("Unknown", &self.origin.place));
        let ty = given.unwrap_or(&unknown);
        let [declared, used] = if self.generics.params.is_empty() && lifetimes::find(ty).is_empty()
        {
            alias(&self.origin.place, &format!("__{name}"), ty)
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
        &self,
        span: Span,
        requirements: &Requirements<'_>,
        items: &TokenStream,
    ) -> TokenStream {
        let name = self.name;
        let private = self.args.library.at(span);
        let protocol = match self.args.attribute {
            Attribute::Server => Ident::new("ServerProtocol", span),
            Attribute::Client => Ident::new("ClientProtocol", span),
        };
        let twin = twin("impl", &self.origin.place);
        let (impl_generics, type_generics, where_clause) = self.generics.split_for_impl();
        let predicates = where_clause.iter().flat_map(|clause| &clause.predicates);
        let Requirements { bounds, checks, .. } = requirements;
        let options = self.is_valid.then(|| check_options(self, requirements));
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

//! What both attributes add beside the function: the type, `new` and `Debug`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::{Expr, GenericParam, Generics, Type, ext::IdentExt as _};

use crate::{
    generics,
    item::Function,
    lifetimes,
    spans::{at, bound, list, private, respan},
};

/// A parameter of the function that the type keeps.
#[derive(Clone)]
pub(crate) struct Field {
    pub(crate) name: Ident,
    pub(crate) ty: Type,
}

/// What a type is made of, and what it has from there.
pub(crate) struct Origin {
    pub(crate) vis: TokenStream,
    pub(crate) attrs: TokenStream,
    /// Stands for documentation where `attrs` have none.
    pub(crate) docs: Option<String>,
    /// What its fields are parameters of.
    pub(crate) what: &'static str,
}

impl Origin {
    pub(crate) fn of(function: &Function) -> Self {
        let docs = (!function.has_docs()).then(|| {
            format!(
                " The protocol of [`{0}`](fn@{0}).",
                function.sig.ident.unraw()
            )
        });
        Self {
            vis: function.vis.to_token_stream(),
            attrs: function.shared_attrs(),
            docs,
            what: "the function",
        }
    }
}

/// Finds the field of this name.
pub(crate) fn field<'f>(fields: &'f [Field], name: &Ident) -> Option<&'f Field> {
    fields.iter().find(|field| field.name == *name)
}

/// The type of a protocol.
pub(crate) struct Shape<'a> {
    pub(crate) origin: Origin,
    pub(crate) name: &'a Ident,
    pub(crate) generics: &'a Generics,
    pub(crate) fields: &'a [Field],
}

impl Shape<'_> {
    /// Declares the type and what it has of its own, next to the implementation of its trait.
    pub(crate) fn declare(&self, implementation: &TokenStream) -> TokenStream {
        let Self {
            origin,
            name,
            generics,
            fields,
        } = self;
        let Origin {
            vis,
            attrs,
            docs,
            what,
        } = origin;
        let span = at(*name);
        let text = name.unraw().to_string();
        let debug = debug(
            span,
            name,
            generics,
            &quote_spanned!(span=> f.write_str(#text)),
        );
        let docs = docs.as_ref().map(|text| quote!(#[doc = #text]));
        let where_clause = &generics.where_clause;
        let body = if fields.is_empty() {
            quote!(#where_clause;)
        } else {
            let mut declared = TokenStream::new();
            for Field { name, ty } in *fields {
                let text = format!(" The parameter `{}` of {what}.", name.unraw());
                declared.extend(quote!(#[doc = #text] #vis #name: #ty,));
            }
            quote!(#where_clause { #declared })
        };
        let new = (!fields.is_empty()).then(|| self.new_function());
        quote_spanned! {span=>
            #docs
            #attrs
            #[allow(clippy::exhaustive_structs, unreachable_pub, reason = "it is what the function is")]
            #vis struct #name #generics #body
            #new
            const _: () = {
                #debug
                #implementation
            };
        }
    }

    fn new_function(&self) -> TokenStream {
        let Self {
            origin,
            name,
            generics,
            fields,
        } = self;
        let span = at(*name);
        let vis = &origin.vis;
        let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
        let (mut names, mut parameters) = (TokenStream::new(), TokenStream::new());
        for Field { name, ty } in *fields {
            names.extend(quote_spanned!(span=> #name,));
            parameters.extend(quote_spanned!(span=> #name: #ty,));
        }
        quote_spanned! {span=>
            #[automatically_derived]
            #[allow(deprecated, reason = "the function may be")]
            impl #impl_generics #name #type_generics #where_clause {
                /// Creates the protocol from what its function borrows or takes besides messages.
                #[must_use]
                #[allow(
                    dead_code, unreachable_pub, clippy::too_many_arguments,
                    reason = "it is there for each protocol with fields"
                )]
                #vis const fn new(#parameters) -> Self {
                    Self { #names }
                }
            }
        }
    }
}

/// Implements `Debug`; the body writes to `f`.
pub(crate) fn debug(
    span: Span,
    name: &Ident,
    generics: &Generics,
    body: &TokenStream,
) -> TokenStream {
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    quote_spanned! {span=>
        #[automatically_derived]
        #[allow(deprecated, reason = "the function may be")]
        impl #impl_generics ::core::fmt::Debug for #name #type_generics #where_clause {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                #body
            }
        }
    }
}

/// Has the compiler judge the parameters of a framing where it is named, if no type parameter can
/// occur in them.
///
/// `mistake` is a function that finds it by the type, so that what is no framing at all is one error.
pub(crate) fn judged(
    framing: Option<&Type>,
    generics: &Generics,
    mistake: &TokenStream,
) -> Option<TokenStream> {
    let framing = framing.filter(|_| generics.params.is_empty())?;
    Some(quote_spanned! {at(framing)=>
        const _: () = if let ::core::option::Option::Some(mistake) = #mistake() {
            ::core::panic!("{}", mistake)
        };
    })
}

/// What generated code may do; it stands before an item at `span`.
pub(crate) fn allowance(span: Span) -> TokenStream {
    quote_spanned! {span=>
        #[allow(deprecated, clippy::all, clippy::pedantic, clippy::nursery, reason = "it is generated")]
    }
}

/// The where clause of what is implemented: that of the generics, and the bounds.
pub(crate) fn where_clause(span: Span, generics: &Generics, bounds: &TokenStream) -> TokenStream {
    let mut predicates = TokenStream::new();
    if let Some(clause) = &generics.where_clause {
        clause.predicates.to_tokens(&mut predicates);
        if !clause.predicates.empty_or_trailing() {
            predicates.extend(quote_spanned!(span=> ,));
        }
    }
    quote_spanned!(span=> where #predicates #bounds)
}

/// Says in a where clause what each type parameter must be.
pub(crate) fn parameter_bounds(
    generics: &Generics,
    krate: &TokenStream,
    item: &str,
) -> TokenStream {
    let mut bounds = TokenStream::new();
    for param in &generics.params {
        if let GenericParam::Type(param) = param {
            bounds.extend(bound(&param.ident, krate, item, &param.ident));
        }
    }
    bounds
}

/// Says in a where clause what the type must be; an error belongs at `place`.
///
/// A bound that does not hold is one error there, while everything that follows from it is taken
/// as given. A type with a lifetime gets none: the compiler would use such a bound to prove that
/// any reference is `Send`, and then demand that very lifetime of it.
pub(crate) fn type_bound(ty: &Type, krate: &TokenStream, item: &str, place: &Type) -> TokenStream {
    if lifetimes::find(ty).is_empty() {
        bound(ty, krate, item, place)
    } else {
        TokenStream::new()
    }
}

/// An encoder that evaluates the expression as it encodes, so that what the expression borrows from
/// its own temporaries lives long enough.
pub(crate) fn sending(krate: &TokenStream, format: &TokenStream, expression: &Expr) -> TokenStream {
    let span = at(expression);
    let encode = private(krate, "Encode", expression);
    let krate = respan(krate.clone(), span);
    quote_spanned! {span=>
        #krate::__private::sending(move |out| {
            #encode::<#format>::encode(#expression, out)
        })
    }
}

/// The type and const arguments of a call of the function.
pub(crate) fn turbofish(generics: &Generics) -> TokenStream {
    let arguments = generics::names(generics);
    if arguments.is_empty() {
        return TokenStream::new();
    }
    let arguments = list(&arguments);
    quote!(::<#arguments>)
}

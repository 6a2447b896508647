//! A function under an attribute: its signature is parsed, its body stays as it is.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::quote;
use syn::{
    Attribute as Attr, Error, FnArg, Meta, PatType, Result, ReturnType, Safety, Signature, Token,
    Type, Visibility,
    parse::{Parse, ParseStream, Parser as _},
    parse_quote,
};

use crate::{
    args::{Args, Attribute},
    errors::Errors,
    parameter::is_ours,
    words::starts_with,
};

/// A function as it was written.
pub(crate) struct Function {
    pub(crate) attrs: Vec<Attr>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    /// The block or the `;`.
    body: TokenTree,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        Ok(Self {
            attrs: input.call(Attr::parse_outer)?,
            vis: input.parse()?,
            sig: input.parse()?,
            body: input.parse()?,
        })
    }
}

impl Function {
    /// Reads a function, or says what stands there instead of one.
    pub(crate) fn of(attribute: Attribute, item: TokenStream) -> Result<Self> {
        syn::parse2(item.clone()).map_err(|wrong| {
            let is_fn = |token| matches!(token, TokenTree::Ident(word) if word == "fn");
            if item.clone().into_iter().any(is_fn) {
                return wrong;
            }
            let cure = "belongs before a function: `fn greet(name: &str) -> String`";
            Error::new(keyword(item), format!("`{}` {cure}", attribute.name()))
        })
    }

    /// Returns the parameters, without `self`.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &PatType> {
        self.sig.inputs.iter().filter_map(|input| match input {
            FnArg::Typed(parameter) => Some(parameter),
            FnArg::Receiver(_) => None,
        })
    }

    /// Returns what the function returns.
    pub(crate) fn output(&self) -> Type {
        match &self.sig.output {
            ReturnType::Default => parse_quote!(()),
            ReturnType::Type(_, ty) => (**ty).clone(),
        }
    }

    pub(crate) fn is_async(&self) -> bool {
        self.sig.asyncness.is_some()
    }

    /// Returns whether it has a `self`, or no body: then it stands in an `impl` or a `trait`, where
    /// no type can stand beside it.
    pub(crate) fn is_member(&self) -> bool {
        self.sig.receiver().is_some() || !self.has_body()
    }

    pub(crate) fn has_body(&self) -> bool {
        matches!(self.body, TokenTree::Group(_))
    }

    /// Reports what no protocol function can be.
    pub(crate) fn check(&self, attribute: Attribute, errors: &mut Errors) {
        let Signature { safety, abi, .. } = &self.sig;
        if let Safety::Unsafe(keyword) = safety {
            let cure = "a protocol function is called by safe code: remove `unsafe`";
            errors.at(keyword, cure);
        }
        if let Some(abi) = abi {
            errors.at(abi, "a protocol function has no `extern`: remove it");
        }
        if let Some(receiver) = self.sig.receiver() {
            let cure = match attribute {
                Attribute::Server => "write `#[state] name: &Type` in a free function",
                Attribute::Client => "each parameter of a free function becomes a field",
            };
            let message = format_args!("`self` is not possible: {cure}");
            errors.at(&receiver.self_token, message);
        }
    }

    /// Returns the function as it was written.
    pub(super) fn as_written(&self) -> TokenStream {
        let Self {
            attrs,
            vis,
            sig,
            body,
        } = self;
        quote!(#(#attrs)* #vis #sig #body)
    }

    /// Returns the function as it was written, but for our helper attributes.
    pub(crate) fn kept(&self, args: &Args) -> TokenStream {
        let Self {
            attrs,
            vis,
            sig,
            body,
        } = self;
        let attrs = attrs
            .iter()
            .filter(|attr| !attr.path().is_ident("blocking"));
        let mut sig = sig.clone();
        let is_lent = args.session.is_some() || args.greeting.is_some();
        for input in &mut sig.inputs {
            if let FnArg::Typed(parameter) = input {
                let count = parameter.attrs.len();
                parameter.attrs.retain(|attr| !is_ours(attr));
                if is_lent && parameter.attrs.len() < count {
                    parameter.attrs.push(parse_quote! {
                        #[allow(unused_variables, reason = "an option may be all that needs it")]
                    });
                }
            }
        }
        quote! {
            #(#attrs)*
            #[allow(
                clippy::future_not_send,
                clippy::missing_const_for_fn,
                clippy::must_use_candidate,
                clippy::needless_pass_by_value,
                clippy::ptr_arg,
                clippy::trivially_copy_pass_by_ref,
                clippy::unnecessary_wraps,
                clippy::unused_async,
                reason = "the protocol decides about the signature"
            )]
            #vis #sig #body
        }
    }

    /// Returns the attributes that the type shares: documentation, allowances and a deprecation.
    pub(crate) fn shared_attrs(&self) -> TokenStream {
        let is_shared = |attr: &&Attr| {
            ["doc", "allow", "deprecated"]
                .iter()
                .any(|name| attr.path().is_ident(name))
        };
        let shared = self.attrs.iter().filter(is_shared);
        quote!(#(#shared)*)
    }

    pub(crate) fn has_docs(&self) -> bool {
        self.attrs.iter().any(|attr| attr.path().is_ident("doc"))
    }

    /// Returns another attribute of ours that names its type after the function.
    pub(crate) fn rival(&self) -> Option<&Attr> {
        let is_ours = |attr: &Attr| {
            let last = attr.path().segments.last();
            last.is_some_and(|last| {
                last.ident == "server_protocol" || last.ident == "client_protocol"
            })
        };
        let is_named = |attr: &Attr| {
            let first = match &attr.meta {
                Meta::List(list) => list.tokens.clone().into_iter().next(),
                _ => None,
            };
            matches!(first, Some(TokenTree::Ident(word))
                if starts_with(&word.to_string(), char::is_uppercase))
        };
        self.attrs
            .iter()
            .find(|attr| is_ours(attr) && !is_named(attr))
    }
}

/// Returns the span of the keyword that says what an item is.
fn keyword(item: TokenStream) -> Span {
    let read = |input: ParseStream<'_>| {
        input.call(Attr::parse_outer)?;
        input.parse::<Visibility>()?;
        input.parse::<Option<Token![unsafe]>>()?;
        let span = input.span();
        input.parse::<TokenStream>()?;
        Ok(span)
    };
    read.parse2(item).unwrap_or_else(|wrong| wrong.span())
}

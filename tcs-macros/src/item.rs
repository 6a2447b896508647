//! The item under an attribute: its signature is parsed, its body stays as it is.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens as _, quote};
use syn::{
    Attribute, FnArg, Meta, Result, ReturnType, Safety, Signature, Token, Type, Visibility,
    parse::{ParseStream, Parser as _},
    parse_quote, token,
};

use crate::{
    args::Args,
    errors::{Errors, error},
    names::starts_with,
    parameter::is_ours,
    parsing::parse,
    spans::all,
};

/// A function as it was written.
pub(crate) struct Function {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    body: TokenStream,
}

impl Function {
    /// Reads one of several functions.
    pub(crate) fn parse_one(input: ParseStream<'_>) -> Result<Self> {
        Ok(Self {
            attrs: input.call(Attribute::parse_outer)?,
            vis: input.parse()?,
            sig: input.parse()?,
            body: input.parse::<TokenTree>()?.into(),
        })
    }

    /// Reads a function, or says what stands there instead of one.
    pub(crate) fn parse(attribute: &str, item: TokenStream) -> Result<Self> {
        Self::parse_tokens.parse2(item.clone()).map_err(|wrong| {
            if has(
                &item,
                |token| matches!(token, TokenTree::Ident(word) if word == "fn"),
            ) {
                wrong
            } else {
                error(
                    keyword(item),
                    format_args!(
                        "`{attribute}` belongs before a function: `fn greet(name: &str) -> String`"
                    ),
                )
            }
        })
    }

    fn parse_tokens(input: ParseStream<'_>) -> Result<Self> {
        Ok(Self {
            attrs: input.call(Attribute::parse_outer)?,
            vis: input.parse()?,
            sig: input.parse()?,
            body: input.parse()?,
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
        has(&self.body, |token| matches!(token, TokenTree::Group(_)))
    }

    /// Reports what no protocol function can be.
    pub(crate) fn check(&self, attribute: &str, errors: &mut Errors) {
        let Signature { safety, abi, .. } = &self.sig;
        if let Safety::Unsafe(keyword) = safety {
            errors.at(
                keyword,
                "a protocol function is called by safe code: remove `unsafe`",
            );
        }
        if let Some(abi) = abi {
            errors.at(abi, "a protocol function has no `extern`: remove it");
        }
        if let Some(receiver) = self.sig.receiver() {
            errors.at(
                &receiver.self_token,
                if attribute == "server_protocol" {
                    "`self` is not possible: write `#[state] name: &Type` in a free function"
                } else {
                    "`self` is not possible: each parameter of a free function becomes a field"
                },
            );
        }
    }

    /// Reports that there is no body.
    pub(crate) fn check_body(&self, errors: &mut Errors) {
        if !self.has_body() {
            errors.at(
                &self.sig.ident,
                "a protocol function has a body: write `{ … }`",
            );
        }
    }

    /// Returns the function as it was written.
    pub(crate) fn as_written(&self) -> TokenStream {
        let Self {
            attrs,
            vis,
            sig,
            body,
        } = self;
        let attrs = all(attrs);
        quote!(#attrs #vis #sig #body)
    }

    /// Returns the function as it was written, but for our helper attributes.
    pub(crate) fn kept(&self, args: &Args) -> TokenStream {
        let Self {
            attrs,
            vis,
            sig,
            body,
        } = self;
        let mut shown = TokenStream::new();
        for attr in attrs {
            if !attr.path().is_ident("blocking") {
                attr.to_tokens(&mut shown);
            }
        }
        let mut sig = sig.clone();
        let is_lent = args.session.is_some() || args.greeting.is_some();
        for input in sig.inputs.pairs_mut() {
            let FnArg::Typed(parameter) = input.into_value() else {
                continue;
            };
            let mut attrs = Vec::new();
            for attr in &parameter.attrs {
                if !is_ours(attr) {
                    attrs.push(attr.clone());
                }
            }
            if is_lent && attrs.len() < parameter.attrs.len() {
                attrs.push(parse_quote! {
                    #[allow(unused_variables, reason = "an option may be all that needs it")]
                });
            }
            parameter.attrs = attrs;
        }
        quote! {
            #shown
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
        let mut shared = TokenStream::new();
        for attr in &self.attrs {
            let path = attr.path();
            if path.is_ident("doc") || path.is_ident("allow") || path.is_ident("deprecated") {
                attr.to_tokens(&mut shared);
            }
        }
        shared
    }

    pub(crate) fn has_docs(&self) -> bool {
        has_attr(&self.attrs, "doc")
    }

    /// Returns another attribute of ours that names its type after the function.
    pub(crate) fn rival(&self) -> Option<&Attribute> {
        self.attrs.iter().find(|attr| {
            let is_ours = attr.path().segments.last().is_some_and(|last| {
                last.ident == "server_protocol" || last.ident == "client_protocol"
            });
            let first = match &attr.meta {
                Meta::List(list) => list.tokens.clone().into_iter().next(),
                _ => None,
            };
            let is_named = matches!(first, Some(TokenTree::Ident(word))
                if starts_with(&word.to_string(), char::is_uppercase));
            is_ours && !is_named
        })
    }
}

/// Returns whether one of the attributes has this name.
pub(crate) fn has_attr(attrs: &[Attribute], name: &str) -> bool {
    attrs.iter().any(|attr| attr.path().is_ident(name))
}

/// Returns the span of the keyword that says what an item is.
fn keyword(item: TokenStream) -> Span {
    let mut span = Span::call_site();
    let result = parse(item, &mut |input| {
        input.call(Attribute::parse_outer)?;
        input.parse::<Visibility>()?;
        input.parse::<Option<Token![unsafe]>>()?;
        span = input.span();
        input.parse::<TokenStream>()?;
        Ok(())
    });
    match result {
        Ok(()) => span,
        Err(wrong) => wrong.span(),
    }
}

/// Returns whether `is_it` holds for one of the tokens, not counting those inside of groups.
fn has(tokens: &TokenStream, is_it: fn(&TokenTree) -> bool) -> bool {
    for token in tokens.clone() {
        if is_it(&token) {
            return true;
        }
    }
    false
}

/// Returns whether `impl Trait` occurs in a type, and where.
pub(crate) fn find_impl(ty: &Type) -> Option<TokenTree> {
    find_keyword(ty.to_token_stream(), "impl")
}

fn find_keyword(tokens: TokenStream, keyword: &str) -> Option<TokenTree> {
    for token in tokens {
        match &token {
            TokenTree::Ident(word) if word == keyword => return Some(token),
            TokenTree::Group(group) => {
                if let Some(found) = find_keyword(group.stream(), keyword) {
                    return Some(found);
                }
            }
            _ => {}
        }
    }
    None
}

/// Returns the type without parentheses and invisible groups around it.
pub(crate) fn bare(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => bare(&group.elem),
        Type::Paren(paren) => bare(&paren.elem),
        other => other,
    }
}

/// Returns whether a type is one of those that have no known size whatever is in scope.
pub(crate) fn is_unsized(bare: &Type) -> bool {
    match bare {
        Type::Slice(_) | Type::TraitObject(_) => true,
        Type::Path(path) => path.path.is_ident("str"),
        _ => false,
    }
}

/// The parentheses of a parameter list, as something that an error can point at.
pub(crate) fn parentheses(paren: token::Paren) -> Span {
    paren.span.join()
}

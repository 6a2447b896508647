//! A function under an attribute: its signature is parsed, its body stays as it is.
//!
//! An editor expands functions while they are typed. So a type that does not parse, or a body that is
//! missing yet, does not take the rest of the function with it.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{
    Attribute, FnArg, Lit, Pat, PatType, Result, ReturnType, Safety, Signature, Token, Type,
    Visibility, parenthesized,
    parse::{ParseStream, discouraged::Speculative as _},
    parse_quote,
    punctuated::Punctuated,
    token,
    visit_mut::VisitMut as _,
};

use crate::{
    errors::Errors,
    syntax::{ParenthesizeGroups, at_comma, at_item, is_one_of, keyword, take_until},
};

/// A function as it was written.
pub(crate) struct Function {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    /// The block or the `;`.
    pub(crate) body: TokenTree,
}

impl Function {
    /// Returns whether the next item seems to be a function.
    pub(super) fn is_next(input: ParseStream<'_>) -> bool {
        let qualifiers = |input: ParseStream<'_>| {
            input.peek(Token![const])
                || input.peek(Token![async])
                || input.peek(Token![unsafe])
                || input.peek(Token![extern])
                || input.peek(Lit)
        };
        keyword(input).is_ok_and(|ahead| {
            take_until(&ahead, |input| !qualifiers(input));
            ahead.peek(Token![fn])
        })
    }

    /// Parses a function; what is missing in it is reported.
    pub(super) fn parse(input: ParseStream<'_>, errors: &mut Errors) -> Result<Self> {
        let content;
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        let mut sig = Signature {
            constness: input.parse()?,
            asyncness: input.parse()?,
            safety: Safety::parse_unsafe_only(input)?,
            abi: input.parse()?,
            fn_token: input.parse()?,
            ident: input.parse()?,
            generics: input.parse()?,
            paren_token: parenthesized!(content in input),
            inputs: parse_parameters(&content, errors),
            variadic: None,
            output: parse_output(input, errors)?,
        };
        // syn has it in the generics, but it comes after the return type.
        sig.generics.where_clause = input.parse()?;
        ParenthesizeGroups.visit_signature_mut(&mut sig);
        let body = if input.peek(token::Brace) || input.peek(Token![;]) {
            input.parse()?
        } else {
            // rustc has its own error about the tokens. With a body, it is the only one.
            errors.leave_to_rustc();
            parse_quote!({ ::core::unimplemented!() })
        };
        Ok(Self {
            attrs,
            vis,
            sig,
            body,
        })
    }

    /// Returns the parameters, without `self`.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &PatType> {
        self.sig.inputs.iter().filter_map(|input| match input {
            FnArg::Typed(parameter) => Some(parameter),
            FnArg::Receiver(_) => None,
        })
    }

    /// Returns the return type.
    pub(crate) fn output(&self) -> Type {
        match &self.sig.output {
            ReturnType::Default => parse_quote!(()),
            ReturnType::Type(_, ty) => (**ty).clone(),
        }
    }

    pub(crate) fn is_async(&self) -> bool {
        self.sig.asyncness.is_some()
    }

    /// Returns whether the function has a `self` or no body. Then it is in an `impl` or a `trait`,
    /// where no type can be declared beside it.
    pub(crate) fn is_member(&self) -> bool {
        self.sig.receiver().is_some() || !self.has_body()
    }

    pub(crate) fn has_body(&self) -> bool {
        matches!(self.body, TokenTree::Group(_))
    }

    /// Returns the other attributes of this crate.
    pub(crate) fn other_protocol_attrs(&self) -> impl Iterator<Item = &Attribute> {
        let names = ["server_protocol", "client_protocol"];
        self.attrs.iter().filter(move |attr| {
            let last = attr.path().segments.last();
            last.is_some_and(|last| is_one_of(&last.ident, &names))
        })
    }
}

impl ToTokens for Function {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let (attrs, vis, sig, body) = (&self.attrs, &self.vis, &self.sig, &self.body);
        tokens.extend(quote!(#(#attrs)* #vis #sig #body));
    }
}

/// Parses parameters. One without a name or a `:` is left out.
fn parse_parameters(input: ParseStream<'_>, errors: &mut Errors) -> Punctuated<FnArg, Token![,]> {
    let mut parameters = Punctuated::new();
    while !input.is_empty() {
        let parsed = parse_parameter(input, errors);
        let parameter = parsed.map_err(|error| errors.push(error)).ok().flatten();
        take_until(input, at_comma);
        let comma = input.parse::<Token![,]>();
        if let Some(parameter) = parameter {
            parameters.push_value(parameter);
            if let Ok(comma) = comma {
                parameters.push_punct(comma);
            }
        }
    }
    parameters
}

fn parse_parameter(input: ParseStream<'_>, errors: &mut Errors) -> Result<Option<FnArg>> {
    // syn parses the whole parameter or none of it. Of one that is incomplete, the name is kept, as the
    // type has a field of this name; so it is parsed again in pieces.
    let attempt = input.fork();
    if let Ok(parameter) = attempt.parse()
        && at_comma(&attempt)
    {
        input.advance_to(&attempt);
        return Ok(Some(parameter));
    }
    let attrs = input.call(Attribute::parse_outer)?;
    let pat = (!at_comma(input)).then(|| Pat::parse_single(input));
    let Some(pat) = pat.transpose()?.filter(|_| !at_comma(input)) else {
        errors.leave_to_rustc();
        return Ok(None);
    };
    Ok(Some(FnArg::Typed(PatType {
        attrs,
        pat: Box::new(pat),
        colon_token: input.parse()?,
        ty: Box::new(parse_type(input, at_comma, errors)),
    })))
}

fn parse_output(input: ParseStream<'_>, errors: &mut Errors) -> Result<ReturnType> {
    if !input.peek(Token![->]) {
        return Ok(ReturnType::Default);
    }
    let is_end = |input: ParseStream<'_>| {
        input.is_empty()
            || input.peek(token::Brace)
            || input.peek(Token![;])
            || input.peek(Token![where])
            || input.peek(Token![fn])
            || at_item(input)
    };
    let arrow = input.parse()?;
    let ty = parse_type(input, is_end, errors);
    Ok(ReturnType::Type(arrow, Box::new(ty)))
}

/// Parses a type that ends where `is_end` holds. One that does not parse is reported, and kept as the
/// tokens that it has so far.
fn parse_type(
    input: ParseStream<'_>,
    is_end: fn(ParseStream<'_>) -> bool,
    errors: &mut Errors,
) -> Type {
    // On a fork, because a type may parse and yet not be all that is there, as in `u8 u8`. Then its
    // tokens are taken from the beginning.
    let attempt = input.fork();
    match attempt.parse() {
        Ok(ty) if is_end(&attempt) => {
            input.advance_to(&attempt);
            return ty;
        }
        _ if is_end(input) => errors.leave_to_rustc(),
        Ok(_) => errors.push(attempt.error("expected the end of the type before this")),
        Err(error) => errors.push(error),
    }
    Type::Verbatim(take_until(input, is_end))
}

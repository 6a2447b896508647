//! A function under an attribute: its signature is parsed, its body stays as it is.
//!
//! An editor expands functions while the user types them. So the rest of a function is kept if a type does not parse,
//! or if the body is missing.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{
    Attribute, FnArg, Ident, Lit, Pat, PatType, Result, ReturnType, Safety, Signature, Token, Type,
    Visibility, parenthesized,
    parse::{ParseBuffer, ParseStream, discouraged::Speculative as _},
    parse_quote,
    punctuated::Punctuated,
    token,
    visit_mut::VisitMut as _,
};

use crate::{
    errors::{Errors, ends_early},
    options::StreamKind,
    syntax::{ParenthesizeGroups, at_element_end, at_item, fork_at_keyword, is_one_of, take_until},
};

/// A function as it was written.
pub(crate) struct Function {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    /// Whether an incomplete parameter is left out.
    pub(crate) lacks_parameter: bool,
    /// The block or the `;`.
    pub(crate) body: TokenTree,
}

impl Function {
    /// Returns `true` if the next item seems to be a function.
    pub(super) fn is_next(input: ParseStream<'_>) -> bool {
        fork_at_fn(input).is_ok_and(|ahead| ahead.peek(Token![fn]))
    }

    /// Parses a function, and reports missing parts. Returns `None` if the function has no name.
    pub(super) fn parse(input: ParseStream<'_>, errors: &mut Errors) -> Result<Option<Self>> {
        if !fork_at_fn(input)?.peek2(Ident) {
            // rustc has reported the missing name, because it parses an item before it expands the attribute.
            errors.leave_to_rustc();
            input.parse::<TokenStream>()?;
            return Ok(None);
        }
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
            inputs: Punctuated::new(),
            variadic: None,
            output: ReturnType::Default,
        };
        let lacks_parameter;
        (sig.inputs, lacks_parameter) = parse_parameters(&content, errors);
        sig.output = parse_output(input, errors)?;
        // syn has the where clause in the generics, but it comes after the return type.
        sig.generics.where_clause = input.parse()?;
        ParenthesizeGroups.visit_signature_mut(&mut sig);
        let body = if input.peek(token::Brace) || input.peek(Token![;]) {
            input.parse()?
        } else {
            // rustc reports the tokens. With a body, that is the only error.
            errors.leave_to_rustc();
            parse_quote!({ ::core::unimplemented!() })
        };
        Ok(Some(Self {
            attrs,
            vis,
            sig,
            lacks_parameter,
            body,
        }))
    }

    /// Returns the operation that the option `describe` adds, which has the name of the option.
    pub(super) fn description(name: &Ident) -> Self {
        Self {
            attrs: vec![
                parse_quote!(#[doc = " Returns the operations of this module as JSON."]),
                parse_quote!(#[idempotent]),
            ],
            vis: parse_quote!(pub),
            sig: parse_quote!(fn #name() -> ::std::string::String),
            lacks_parameter: false,
            body: parse_quote!({ ::std::convert::From::from(__DESCRIPTION) }),
        }
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

    /// Returns `true` if the function has a `self` or no body. Such a function is in an `impl` or a `trait`, where no
    /// type can be declared beside it.
    pub(crate) fn is_member(&self) -> bool {
        self.sig.receiver().is_some() || !self.has_body()
    }

    pub(crate) fn has_body(&self) -> bool {
        matches!(self.body, TokenTree::Group(_))
    }

    /// Returns the type in the attribute that declares messages of a kind, such as `#[replies(Row)]`.
    pub(crate) fn written_stream(&self, kind: &StreamKind) -> Option<Type> {
        let mut attrs = self.attrs.iter();
        let attr = attrs.find(|attr| attr.path().is_ident(kind.option_text))?;
        attr.parse_args().ok()
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

/// Returns a fork of the input that begins at the `fn` of a function.
fn fork_at_fn(input: ParseStream<'_>) -> Result<ParseBuffer<'_>> {
    let is_qualifier = |input: ParseStream<'_>| {
        input.peek(Token![const])
            || input.peek(Token![async])
            || input.peek(Token![unsafe])
            || input.peek(Token![extern])
            || input.peek(Lit)
    };
    let ahead = fork_at_keyword(input)?;
    take_until(&ahead, |input| !is_qualifier(input));
    Ok(ahead)
}

/// Parses parameters, and leaves out those without a name or a `:`. Also returns whether a parameter was left out.
fn parse_parameters(
    input: ParseStream<'_>,
    errors: &mut Errors,
) -> (Punctuated<FnArg, Token![,]>, bool) {
    let (mut parameters, mut lacks_one) = (Punctuated::new(), false);
    while !input.is_empty() {
        let parsed = parse_parameter(input, errors);
        let parameter = errors.ok(parsed).flatten();
        take_until(input, at_element_end);
        let comma = input.parse::<Token![,]>();
        lacks_one |= parameter.is_none();
        if let Some(parameter) = parameter {
            parameters.push_value(parameter);
            if let Ok(comma) = comma {
                parameters.push_punct(comma);
            }
        }
    }
    (parameters, lacks_one)
}

fn parse_parameter(input: ParseStream<'_>, errors: &mut Errors) -> Result<Option<FnArg>> {
    // syn parses the whole parameter or nothing. The name of an incomplete parameter is kept, because the type has a
    // field of this name. So an incomplete parameter is parsed again in pieces.
    let attempt = input.fork();
    if let Ok(parameter) = attempt.parse()
        && at_element_end(&attempt)
    {
        input.advance_to(&attempt);
        return Ok(Some(parameter));
    }
    let attrs = input.call(Attribute::parse_outer)?;
    let pat = (!at_element_end(input)).then(|| Pat::parse_single(input));
    let Some(pat) = pat.transpose()?.filter(|_| !at_element_end(input)) else {
        errors.leave_to_rustc();
        return Ok(None);
    };
    Ok(Some(FnArg::Typed(PatType {
        attrs,
        pat: Box::new(pat),
        colon_token: input.parse()?,
        ty: Box::new(parse_type(input, at_element_end, errors)),
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

/// Parses a type that ends where `is_end` holds. Reports a type that does not parse, and keeps its tokens.
fn parse_type(
    input: ParseStream<'_>,
    is_end: fn(ParseStream<'_>) -> bool,
    errors: &mut Errors,
) -> Type {
    // The type is parsed on a fork, because further tokens may follow it, as in `u8 u8`. Then all tokens are taken from
    // the beginning.
    let attempt = input.fork();
    let error = match attempt.parse() {
        Ok(ty) if is_end(&attempt) => {
            input.advance_to(&attempt);
            return ty;
        }
        Ok(_) => attempt.error("expected the end of the type before this"),
        Err(error) => error,
    };
    let tokens = take_until(input, is_end);
    let last = tokens.clone().into_iter().last();
    match last.map(|token| token.to_string()).as_deref() {
        // rustc accepts these words without a trait.
        Some("impl" | "dyn") => errors.push(error),
        // rustc has reported that tokens are missing.
        None => errors.leave_to_rustc(),
        Some(_) if ends_early(&error) => errors.leave_to_rustc(),
        Some(_) => errors.push(error),
    }
    Type::Verbatim(tokens)
}

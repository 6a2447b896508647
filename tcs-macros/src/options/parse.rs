//! Parses the options.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens as _, quote};
use syn::{
    Error, Expr, ExprCast, FnArg, GenericArgument, Ident, Lit, LitStr, Path, PathArguments, Result,
    Token, Type, TypePath,
    ext::IdentExt as _,
    parse::{Parse as _, ParseStream, Parser as _, discouraged::Speculative as _},
    token,
    visit_mut::VisitMut as _,
};

use super::{
    OptionName, Options, Side,
    guesses::{library_type, meant, unknown},
    spec::{OptionSpec, ValueKind},
};
use crate::{
    errors::{Errors, ends_early},
    syntax::{ParenthesizeGroups, at_element_end, take_until, text_of, upper_camel},
};

impl Options {
    /// Parses all options; an error in one does not hide those in others.
    pub(crate) fn parse(side: Side, tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut options = Self {
            side,
            ..Self::default()
        };
        let last = tokens.clone().into_iter().last();
        let parse = |input: ParseStream<'_>| options.parse_all(input, last.as_ref(), errors);
        // The loop ends at the end of the tokens, so no other error is possible.
        parse.parse2(tokens).ok();
        options
    }

    fn parse_all(
        &mut self,
        input: ParseStream<'_>,
        last: Option<&TokenTree>,
        errors: &mut Errors,
    ) -> Result<()> {
        while !input.is_empty() {
            if let Err(error) = self.parse_one(input, errors) {
                match last {
                    // The parser has no place for tokens that are missing after the last token, except in a group.
                    Some(token) if ends_early(&error) && !matches!(token, TokenTree::Group(_)) => {
                        errors.at(token, error);
                    }
                    _ => errors.push(error),
                }
            } else if !at_element_end(input) {
                let is_semicolon = input.peek(Token![;]);
                errors.push(input.error(if is_semicolon {
                    "options are separated by commas: write `,` instead of `;`"
                } else {
                    "expected `,` before this"
                }));
                let ahead = input.fork();
                ahead.parse::<Option<Token![;]>>()?;
                let next = ahead.call(Ident::parse_any);
                if next.is_ok_and(|next| self.side.option(&next.to_string()).is_some()) {
                    input.parse::<Option<Token![;]>>()?;
                    continue;
                }
            }
            // The rest of an option with an error is skipped, so that the next option is parsed.
            take_until(input, at_element_end);
            input.parse::<Option<Token![,]>>()?;
        }
        Ok(())
    }

    fn parse_one(&mut self, input: ParseStream<'_>, errors: &mut Errors) -> Result<()> {
        let word = input.call(Ident::parse_any).map_err(|wrong| {
            let expected = "expected an option, such as `framing = Lines`, or the type's name";
            Error::new(wrong.span(), expected)
        })?;
        let text = word.to_string();
        if let Some(option) = self.side.option(&text) {
            return self.parse_option(option, &word, input);
        }
        // A capitalized word that is a type of the library is a forgotten `format =`, not a name.
        let is_first = self.name.is_none() && self.given.is_empty();
        let is_name = at_element_end(input) && text.starts_with(char::is_uppercase);
        if is_first && is_name && library_type(&text).is_none() {
            self.name = Some(word);
            return Ok(());
        }
        if matches!(&*text, "name" | "rename" | "type" | "type_name") && self.name.is_none() {
            self.name = parse_name(input).ok();
            let name = self.name.as_ref().map(ToString::to_string);
            let name = name.as_deref().unwrap_or("Name");
            let help = format!("write `{}({name}, …)`", self.side.attribute());
            let message = format_args!("the name comes first, alone: {help}");
            return Err(Error::new(word.span(), message));
        }
        errors.complete(self.side.attribute(), &word);
        let meant = meant(self.side, &text, input);
        let message = unknown(self.side, self.name.as_ref(), &text, meant, input);
        // The function needs the option's declaration. Without the option, there would be further errors.
        if let Some(option) = meant {
            if at_element_end(input) && library_type(&text).is_some() {
                let parse = |input: ParseStream<'_>| self.parse_option(option, &word, input);
                parse.parse2(quote!(= #word)).ok();
            } else {
                self.parse_option(option, &word, input).ok();
            }
        }
        Err(Error::new(word.span(), message))
    }

    fn parse_option(
        &mut self,
        option: &'static OptionSpec,
        word: &Ident,
        input: ParseStream<'_>,
    ) -> Result<()> {
        if self.given(option.name).is_some() {
            let message = format_args!("`{word}` is given twice: remove one");
            return Err(Error::new(word.span(), message));
        }
        self.given.push((option, word.clone()));
        if option.name == OptionName::Framing
            && self.side == Side::Server
            && let Some(ExprCast { expr, ty, .. }) = parse_cast(input)
        {
            self.framing = Some(*ty);
            self.framing_value = Some(*expr);
            return Ok(());
        }
        match option.value {
            ValueKind::Type(field) => *field(self) = Some(parse_type(option, word, input)?),
            ValueKind::Path(field) => {
                *field(self) = Some(parse_value(option, word, input, Path::parse_mod_style)?);
            }
            ValueKind::Expression(field) => {
                parse_equals(option, word, input)?;
                let start = input.fork();
                match parse_expr(option, input) {
                    Ok(value) => *field(self) = Some(value),
                    Err(error) => {
                        // An incomplete closure has its parameters already, and they are fields.
                        if let Some(closure) = parse_closure_start(&start) {
                            *field(self) = Some(closure);
                            input.advance_to(&start);
                        }
                        return Err(error);
                    }
                }
            }
            ValueKind::Word(known) => {
                let value = parse_value(option, word, input, Ident::parse)?;
                if value != known {
                    return Err(Error::new(value.span(), option.help()));
                }
            }
            ValueKind::Nothing if at_element_end(input) => {}
            ValueKind::Nothing => return Err(input.error(option.help())),
        }
        Ok(())
    }
}

/// Parses the `=` of an option, which is written as `word`, before a value.
fn parse_equals(option: &OptionSpec, word: &Ident, input: ParseStream<'_>) -> Result<()> {
    let write = option.write();
    if !at_element_end(input) {
        if !input.peek(Token![=]) || input.peek(Token![==]) {
            return Err(input.error(format!("expected `=` after `{}`: {write}", option.text)));
        }
        input.parse::<Token![=]>()?;
    }
    if at_element_end(input) {
        let message = format_args!("`{}` needs a value: {write}", option.text);
        return Err(Error::new(word.span(), message));
    }
    Ok(())
}

/// Parses a type, a path or a word.
fn parse_value<T>(
    option: &OptionSpec,
    word: &Ident,
    input: ParseStream<'_>,
    parse: fn(ParseStream<'_>) -> Result<T>,
) -> Result<T> {
    parse_equals(option, word, input)?;
    // The error is made before parsing, so that its place is the beginning of the value.
    let wrong = input.error(option.help());
    let value = parse(input).ok();
    // `path(…)` is a call, whose name alone has been parsed.
    value.filter(|_| !input.peek(token::Paren)).ok_or(wrong)
}

/// Parses `= EXPRESSION as Type`, or takes nothing.
fn parse_cast(input: ParseStream<'_>) -> Option<ExprCast> {
    let ahead = input.fork();
    ahead.parse::<Token![=]>().ok()?;
    let mut value = match ahead.parse() {
        Ok(Expr::Cast(cast)) if at_element_end(&ahead) => cast,
        _ => return None,
    };
    input.advance_to(&ahead);
    ParenthesizeGroups.visit_expr_cast_mut(&mut value);
    Some(value)
}

fn parse_type(option: &OptionSpec, word: &Ident, input: ParseStream<'_>) -> Result<Type> {
    let mut value = parse_value(option, word, input, Type::parse)?;
    ParenthesizeGroups.visit_type_mut(&mut value);
    find_no_type(option, &value).map_or(Ok(value), Err)
}

/// Returns the error for a value that looks like a type and is none.
fn find_no_type(option: &OptionSpec, value: &Type) -> Option<Error> {
    let Type::Path(TypePath { path, .. }) = value else {
        return None;
    };
    let last = path.segments.last()?;
    let name = last.ident.unraw().to_string();
    if let PathArguments::AngleBracketed(arguments) = &last.arguments
        && let Some(GenericArgument::Const(Expr::Lit(literal))) = arguments.args.first()
        && name == "Delimited"
        && !matches!(literal.lit, Lit::Int(_))
    {
        let message = "a delimiter is packed: write `Delimited<{ delimiter(b\";\") }>`";
        return Some(Error::new_spanned(literal, message));
    }
    if !name.starts_with(char::is_lowercase) {
        return None;
    }
    let message = if option.name == OptionName::Server {
        let written = text_of(value.to_token_stream());
        let before = written.strip_suffix(&*last.ident.to_string())?;
        let camel = upper_camel(&name);
        let of_module = format!("write `{written}::Contract` for a module");
        format!("`{written}` is not a type: {of_module},\nor `{before}{camel}` for a function")
    } else {
        let (option, ty) = library_type(&name).filter(|_| path.get_ident().is_some())?;
        format!("`{ty}` is a {option}: write `{option} = {ty}`")
    };
    Some(Error::new_spanned(value, message))
}

/// Parses an expression. Errors inside of the expression keep the text of the parser.
fn parse_expr(option: &OptionSpec, input: ParseStream<'_>) -> Result<Expr> {
    let (start, wrong) = (input.cursor(), input.error(option.help()));
    // If the parser has taken no token, its error is only "expected an expression", and ours helps more.
    let mut value = match input.parse() {
        Ok(value) => value,
        Err(_) if input.cursor() == start => return Err(wrong),
        Err(inner) => return Err(inner),
    };
    ParenthesizeGroups.visit_expr_mut(&mut value);
    Ok(value)
}

/// Parses `= Name` or `= "Name"`.
fn parse_name(input: ParseStream<'_>) -> Result<Ident> {
    input.parse::<Token![=]>()?;
    match input.parse::<Option<LitStr>>()? {
        Some(text) => text.parse(),
        None => input.parse(),
    }
}

/// Parses a closure up to its body, without the parameters that do not parse, and gives the closure a body.
fn parse_closure_start(input: ParseStream<'_>) -> Option<Expr> {
    let before = take_until(input, |input| input.peek(Token![|]));
    input.parse::<Token![|]>().ok()?;
    let mut parameters = Vec::new();
    while !input.is_empty() && !input.peek(Token![|]) {
        let parameter = take_until(input, |input| {
            at_element_end(input) || input.peek(Token![|])
        });
        parameters.extend(syn::parse2::<FnArg>(parameter));
        input.parse::<Option<Token![,]>>().ok()?;
    }
    input.parse::<Token![|]>().ok()?;
    syn::parse2(quote!(#before |#(#parameters),*| ())).ok()
}

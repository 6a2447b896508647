//! Parses the options, which are in the parentheses of an attribute.

mod guesses;
mod options;

use proc_macro2::{Ident, TokenStream};
use syn::{
    Error, Expr, GenericArgument, Lit, Path, PathArguments, Result, Token, Type,
    ext::IdentExt as _,
    parse::{Parse as _, ParseStream, Parser as _},
    token,
    visit_mut::VisitMut as _,
};

pub(crate) use self::{
    guesses::nearest,
    options::{Args, Attribute},
};
use self::{
    guesses::{is_far_from_all, library_type, unknown},
    options::{OptionSpec, Value},
};
use crate::{
    errors::Errors,
    syntax::{ShowGroups, at_comma, starts_with, take_until, upper_camel},
};

impl Args {
    /// Parses all options; a mistake in one does not hide those in others.
    pub(crate) fn parse(attribute: Attribute, tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut args = Self {
            attribute,
            ..Self::default()
        };
        let parse = |input: ParseStream<'_>| args.parse_all(input, errors);
        // The loop ends at the end of the tokens, so no other error is possible.
        parse.parse2(tokens).ok();
        for ty in [
            &mut args.framing,
            &mut args.format,
            &mut args.server,
            &mut args.reply,
        ] {
            ty.iter_mut().for_each(|ty| ShowGroups.visit_type_mut(ty));
        }
        for value in [&mut args.session, &mut args.greeting, &mut args.request] {
            value
                .iter_mut()
                .for_each(|value| ShowGroups.visit_expr_mut(value));
        }
        args
    }

    /// Returns the name of an option as it is written, if the option is given.
    pub(crate) fn given(&self, option: &str) -> Option<&Ident> {
        self.given.iter().find(|given| *given == option)
    }

    fn parse_all(&mut self, input: ParseStream<'_>, errors: &mut Errors) -> Result<()> {
        let mut is_first = true;
        while !input.is_empty() {
            if let Err(error) = self.parse_one(input, is_first) {
                errors.push(error);
            } else if !at_comma(input) {
                errors.push(input.error("expected `,` before this"));
            }
            take_until(input, at_comma);
            input.parse::<Option<Token![,]>>()?;
            is_first = false;
        }
        Ok(())
    }

    fn parse_one(&mut self, input: ParseStream<'_>, is_first: bool) -> Result<()> {
        if let Ok(Lit::Str(text)) = input.fork().parse() {
            return Err(match self.attribute.option(&text.value()) {
                Some(option) => input.error(format!("an option has no quotes: {}", option.write())),
                None => input.error("the name has no quotes: write `Name`"),
            });
        }
        let word = input.call(Ident::parse_any).map_err(|wrong| {
            let expected = "expected an option, such as `framing = Lines`, or the type's name";
            Error::new(wrong.span(), expected)
        })?;
        let text = word.to_string();
        if let Some(option) = self.attribute.option(&text) {
            return self.parse_option(option, word, input);
        }
        let is_name = at_comma(input) && starts_with(&text, char::is_uppercase);
        if is_name && is_first && library_type(&text).is_none() {
            self.name = Some(word);
            return Ok(());
        }
        let message = self.unknown(&text, input, is_first);
        Err(Error::new(word.span(), message))
    }

    /// Says what to write instead of a word that is neither an option nor the name.
    fn unknown(&self, word: &str, input: ParseStream<'_>, is_first: bool) -> String {
        let attribute = self.attribute;
        let name = attribute.name();
        let is_alone = at_comma(input);
        if is_alone && let Some((option, ty)) = library_type(word) {
            format!("`{ty}` is a {option}: write `{option} = {ty}`")
        } else if is_alone && starts_with(word, char::is_uppercase) {
            format!("the name comes first: write `{name}({word}, …)`")
        } else if word == "name" && input.peek(Token![=]) {
            format!("the name has no `name =`: write `{name}(Name, …)`")
        } else if input.peek(Token![::]) && starts_with(word, char::is_alphabetic) {
            "the name is a single word: the type is declared where the function is".to_owned()
        } else if is_first && is_alone && is_far_from_all(attribute, word) {
            let camel = upper_camel(word);
            format!("`{word}` is no option; as the type's name write `{camel}`")
        } else {
            unknown(attribute, word)
        }
    }

    fn parse_option(
        &mut self,
        option: &OptionSpec,
        word: Ident,
        input: ParseStream<'_>,
    ) -> Result<()> {
        let name = option.name;
        if self.given(name).is_some() {
            let message = format_args!("`{name}` is given twice: remove one");
            return Err(Error::new(word.span(), message));
        }
        let span = word.span();
        self.given.push(word);
        if let Value::Nothing = option.value {
            return if at_comma(input) {
                Ok(())
            } else {
                Err(wrong_value(option, input))
            };
        }
        let write = option.write();
        let needs_value = || Error::new(span, format_args!("`{name}` needs a value: {write}"));
        if at_comma(input) {
            return Err(needs_value());
        }
        if !input.peek(Token![=]) || input.peek(Token![==]) {
            return Err(input.error(format!("expected `=` after `{name}`: {write}")));
        }
        input.parse::<Token![=]>()?;
        if at_comma(input) {
            return Err(needs_value());
        }
        match option.value {
            Value::Type(field) => *field(self) = Some(parse_type(option, input)?),
            Value::Path(field) => {
                *field(self) = Some(parse_value(option, input, Path::parse_mod_style)?);
            }
            Value::Expression(field) => *field(self) = Some(parse_expression(option, input)?),
            Value::Word | Value::Nothing => parse_word(option, input)?,
        }
        Ok(())
    }
}

/// Parses a value that is neither quoted nor called.
fn parse_value<T>(
    option: &OptionSpec,
    input: ParseStream<'_>,
    parse: fn(ParseStream<'_>) -> Result<T>,
) -> Result<T> {
    let start = input.fork();
    if input.peek(Lit) {
        return Err(wrong_value(option, &start));
    }
    let value = parse(input).map_err(|_| wrong_value(option, &start))?;
    if input.peek(token::Paren) || input.peek(token::Brace) {
        return Err(wrong_value(option, input));
    }
    Ok(value)
}

fn parse_type(option: &OptionSpec, input: ParseStream<'_>) -> Result<Type> {
    let value: Type = parse_value(option, input, Type::parse)?;
    let Type::Path(path) = &value else {
        return Ok(value);
    };
    let word = path
        .path
        .require_ident()
        .map_or_else(|_| String::new(), Ident::to_string);
    if starts_with(&word, char::is_lowercase)
        && let Some((option, ty)) = library_type(&word)
    {
        let message = format_args!("`{ty}` is a {option}: write `{option} = {ty}`");
        return Err(Error::new_spanned(&value, message));
    }
    match path.path.segments.last().map(|last| &last.arguments) {
        Some(PathArguments::Parenthesized(_)) => Err(Error::new_spanned(&value, option.help())),
        Some(PathArguments::AngleBracketed(arguments)) => {
            let text = arguments.args.iter().find(|argument| is_text(argument));
            let help = "a type takes no text: write `Delimited<{ delimiter(b\";\") }>`";
            text.map_or(Ok(()), |text| Err(Error::new_spanned(text, help)))
        }
        _ => Ok(()),
    }?;
    Ok(value)
}

/// Parses an expression. What is wrong inside of it is reported in the words of its parser.
fn parse_expression(option: &OptionSpec, input: ParseStream<'_>) -> Result<Expr> {
    let attempt = input.fork();
    match attempt.parse::<Expr>() {
        Ok(_) => input.parse(),
        Err(_) if attempt.cursor() == input.cursor() => Err(input.error(option.help())),
        // An error at the end of the input would be reported at the whole attribute.
        Err(wrong) if attempt.is_empty() => {
            let last = input.parse::<TokenStream>()?.into_iter().last();
            Err(Error::new_spanned(last, wrong))
        }
        Err(wrong) => Err(wrong),
    }
}

/// Returns whether an argument of a type is text or bytes.
fn is_text(argument: &GenericArgument) -> bool {
    let GenericArgument::Const(Expr::Lit(literal)) = argument else {
        return false;
    };
    matches!(literal.lit, Lit::Str(_) | Lit::ByteStr(_) | Lit::CStr(_))
}

/// Parses the word that the option's example has.
fn parse_word(option: &OptionSpec, input: ParseStream<'_>) -> Result<()> {
    let start = input.fork();
    match input.parse::<Ident>() {
        Ok(word) if at_comma(input) && option.example.ends_with(&format!("= {word}")) => Ok(()),
        _ => Err(wrong_value(option, &start)),
    }
}

/// Returns the error about a value that is quoted, or of another kind.
fn wrong_value(option: &OptionSpec, input: ParseStream<'_>) -> Error {
    match input.fork().parse() {
        Ok(Lit::Str(_)) => {
            let (name, write) = (option.name, option.write());
            input.error(format!("`{name}` takes no quotes: {write}"))
        }
        _ => input.error(option.help()),
    }
}

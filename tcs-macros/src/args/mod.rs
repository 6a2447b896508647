//! Parses what stands in the parentheses of an attribute.

mod guesses;
mod options;

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::{
    Error, Expr, GenericArgument, Lit, Path, PathArguments, Result, Token, Type,
    ext::IdentExt as _,
    parse::{Parse as _, ParseStream, Parser as _},
    token,
};

pub(crate) use self::{
    guesses::nearest,
    options::{Args, Attribute},
};
use self::{
    guesses::{is_far_from_all, unknown},
    options::{Known, Value},
};
use crate::{
    errors::Errors,
    words::{starts_with, upper_camel},
};

impl Args {
    /// Reads all options; a mistake in one does not hide those in others.
    pub(crate) fn parse(attribute: Attribute, tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut args = Self::default();
        let read = |input: ParseStream<'_>| {
            args.read(attribute, input, errors);
            Ok(())
        };
        if let Err(error) = read.parse2(tokens) {
            errors.push(error);
        }
        args
    }

    /// Returns the option's name where it stands, if it does.
    pub(crate) fn given(&self, option: &str) -> Option<&Ident> {
        self.given.iter().find(|given| *given == option)
    }

    fn read(&mut self, attribute: Attribute, input: ParseStream<'_>, errors: &mut Errors) {
        let mut first = true;
        while !input.is_empty() {
            if let Err(error) = self.read_one(attribute, input, first) {
                errors.push(error);
                skip_to_comma(input);
            } else if !ends(input) {
                errors.push(input.error("expected `,` before this"));
                skip_to_comma(input);
            }
            // Either the input is empty, or a comma stands here.
            input.parse::<Token![,]>().ok();
            first = false;
        }
    }

    fn read_one(
        &mut self,
        attribute: Attribute,
        input: ParseStream<'_>,
        first: bool,
    ) -> Result<()> {
        if let Ok(Lit::Str(text)) = input.fork().parse() {
            return Err(match attribute.option(&text.value()) {
                Some(option) => input.error(format!("an option has no quotes: {}", option.write())),
                None => input.error("the name has no quotes: write `Name`"),
            });
        }
        let word = input.call(Ident::parse_any).map_err(|wrong| {
            let expected = "expected an option, such as `framing = Lines`, or the type's name";
            Error::new(wrong.span(), expected)
        })?;
        let text = word.to_string();
        if let Some(option) = attribute.option(&text) {
            if self.given(&text).is_some() {
                let message = format_args!("`{text}` stands here twice: remove one");
                return Err(Error::new(word.span(), message));
            }
            self.given.push(word.clone());
            return self.read_value(option, &word, input);
        }
        let alone = ends(input);
        let name = attribute.name();
        let message = if alone && starts_with(&text, char::is_uppercase) {
            if first {
                self.name = Some(word);
                return Ok(());
            }
            format!("the name comes first: write `{name}({text}, …)`")
        } else if input.peek(Token![::]) && starts_with(&text, char::is_alphabetic) {
            "the name is a single word: the type stands where the function does".to_owned()
        } else if first && alone && is_far_from_all(attribute, &text) {
            let camel = upper_camel(&text);
            format!("`{text}` is no option; as the type's name write `{camel}`")
        } else {
            unknown(attribute, &text)
        };
        Err(Error::new(word.span(), message))
    }

    fn read_value(&mut self, option: &Known, word: &Ident, input: ParseStream<'_>) -> Result<()> {
        if let Value::Nothing = option.value {
            return ends(input)
                .then_some(())
                .ok_or_else(|| input.error(option.cure()));
        }
        if ends(input) {
            return Err(needs_value(option, word));
        }
        if !input.peek(Token![=]) || input.peek(Token![==]) {
            let (name, write) = (option.name, option.write());
            return Err(input.error(format!("expected `=` behind `{name}`: {write}")));
        }
        input.parse::<Token![=]>()?;
        if ends(input) {
            return Err(needs_value(option, word));
        }
        match option.value {
            Value::Type(field) => *field(self) = Some(read_type(option, input)?),
            Value::Path(field) => *field(self) = Some(read(option, input, Path::parse_mod_style)?),
            Value::Expression(field) => *field(self) = Some(read_expression(option, input)?),
            Value::Word | Value::Nothing => read_word(option, input)?,
        }
        Ok(())
    }
}

/// Returns whether an option ends here.
fn ends(input: ParseStream<'_>) -> bool {
    input.is_empty() || input.peek(Token![,])
}

fn needs_value(option: &Known, word: &Ident) -> Error {
    let message = format!("`{word}` needs a value: {}", option.write());
    Error::new(word.span(), message)
}

/// Reads a value that is neither quoted nor called.
fn read<T>(
    option: &Known,
    input: ParseStream<'_>,
    parse: fn(ParseStream<'_>) -> Result<T>,
) -> Result<T> {
    let start = input.fork();
    if input.peek(Lit) {
        return Err(quoted(option, &start));
    }
    let value = parse(input).map_err(|_| quoted(option, &start))?;
    if input.peek(token::Paren) || input.peek(token::Brace) {
        return Err(input.error(option.cure()));
    }
    Ok(value)
}

fn read_type(option: &Known, input: ParseStream<'_>) -> Result<Type> {
    let value: Type = read(option, input, Type::parse)?;
    let last = match &value {
        Type::Path(path) => path.path.segments.last(),
        _ => None,
    };
    match last.map(|last| &last.arguments) {
        Some(PathArguments::Parenthesized(_)) => Err(Error::new_spanned(&value, option.cure())),
        Some(PathArguments::AngleBracketed(arguments)) => {
            let text = arguments.args.iter().find(|argument| is_text(argument));
            let cure = "a type takes no text: write `Delimited<{ delimiter(b\";\") }>`";
            text.map_or(Ok(()), |text| Err(Error::new_spanned(text, cure)))
        }
        _ => Ok(()),
    }?;
    Ok(value)
}

/// Reads an expression. What is wrong inside of one is told in the words of its parser.
fn read_expression(option: &Known, input: ParseStream<'_>) -> Result<Expr> {
    let attempt = input.fork();
    match attempt.parse::<Expr>() {
        Ok(_) => input.parse(),
        Err(_) if attempt.cursor() == input.cursor() => Err(input.error(option.cure())),
        // At the end of the input, the error would stand at the whole attribute.
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

/// Reads the word that the option's example has.
fn read_word(option: &Known, input: ParseStream<'_>) -> Result<()> {
    let start = input.fork();
    match input.parse::<Ident>() {
        Ok(word) if ends(input) && option.example.ends_with(&format!("= {word}")) => Ok(()),
        _ => Err(quoted(option, &start)),
    }
}

fn quoted(option: &Known, input: ParseStream<'_>) -> Error {
    match input.fork().parse() {
        Ok(Lit::Str(_)) => {
            let write = option.write();
            input.error(format!("`{}` takes no quotes: {write}", option.name))
        }
        _ => input.error(option.cure()),
    }
}

fn skip_to_comma(input: ParseStream<'_>) {
    while !ends(input) && input.parse::<TokenTree>().is_ok() {}
}

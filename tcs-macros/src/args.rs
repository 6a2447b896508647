//! Parses what stands in the parentheses of an attribute.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote};
use syn::{
    Error, Expr, GenericArgument, Lit, Path, PathArguments, Result, Token, Type,
    ext::IdentExt as _, parse::ParseStream, token,
};

use crate::{
    errors::{Errors, error, error_at, nearest},
    names::{starts_with, upper_camel},
    options::{Attribute, Known, Value},
    parsing::parse,
};

/// What stands in the parentheses, as far as it could be read.
#[derive(Default)]
pub(crate) struct Args {
    pub(crate) name: Option<Ident>,
    pub(crate) framing: Option<Type>,
    pub(crate) format: Option<Type>,
    pub(crate) session: Option<Expr>,
    pub(crate) greeting: Option<Expr>,
    pub(crate) refuse: Option<Path>,
    pub(crate) server: Option<Type>,
    pub(crate) request: Option<Expr>,
    pub(crate) reply: Option<Type>,
    krate: Option<Path>,
    /// The options that stand there, also those whose value could not be read.
    given: Vec<Ident>,
}

impl Args {
    /// Reads all options; a mistake in one does not hide those in others.
    pub(crate) fn parse(attribute: Attribute, tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut args = Self::default();
        let result = parse(tokens, &mut |input| {
            args.read(attribute, input, errors);
            Ok(())
        });
        if let Err(error) = result {
            errors.push(error);
        }
        args
    }

    /// Returns the option's name where it stands, if it does.
    pub(crate) fn given(&self, option: &str) -> Option<&Ident> {
        self.given.iter().find(|given| *given == option)
    }

    /// Returns the path of the crate `tcs`.
    pub(crate) fn krate(&self) -> TokenStream {
        let path = self.krate.as_ref().map(ToTokens::to_token_stream);
        path.unwrap_or_else(|| quote!(::tcs))
    }

    fn read(&mut self, attribute: Attribute, input: ParseStream<'_>, errors: &mut Errors) {
        let mut first = true;
        while !input.is_empty() {
            if let Err(error) = self.read_one(attribute, input, first) {
                errors.push(error);
                skip_to_comma(input);
            } else if !at_end(input) {
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
                Some(option) => input.error(format_args!(
                    "an option has no quotes: write `{}`",
                    option.example
                )),
                None => input.error("the name has no quotes: write `Name`"),
            });
        }
        let word = input.call(Ident::parse_any).map_err(|wrong| {
            error(
                wrong.span(),
                "expected an option, such as `framing = Lines`, or the type's name",
            )
        })?;
        let text = word.to_string();
        if let Some(option) = attribute.option(&text) {
            if self.given(&text).is_some() {
                return Err(error(
                    word.span(),
                    format_args!("`{text}` stands here twice: remove one"),
                ));
            }
            self.given.push(word.clone());
            return self.read_value(option, &word, input);
        }
        let alone = at_end(input);
        if alone && starts_with(&text, char::is_uppercase) {
            if !first {
                return Err(error(
                    word.span(),
                    format_args!(
                        "the name comes first: write `{}({text}, …)`",
                        attribute.name()
                    ),
                ));
            }
            self.name = Some(word);
            return Ok(());
        }
        if input.peek(Token![::]) && starts_with(&text, char::is_alphabetic) {
            return Err(error(
                word.span(),
                "the name is a single word: the type stands where the function does",
            ));
        }
        if first && alone && is_far_from_all(attribute, &text) {
            return Err(error(
                word.span(),
                format_args!(
                    "`{text}` is no option; as the type's name write `{}`",
                    upper_camel(&text)
                ),
            ));
        }
        Err(error(word.span(), unknown(attribute, &text)))
    }

    fn read_value(&mut self, option: &Known, word: &Ident, input: ParseStream<'_>) -> Result<()> {
        if option.value == Value::Nothing {
            return if at_end(input) {
                Ok(())
            } else {
                Err(input.error(option.cure()))
            };
        }
        if at_end(input) {
            return Err(needs_value(option, word));
        }
        if !input.peek(Token![=]) || input.peek(Token![==]) {
            return Err(input.error(format_args!(
                "expected `=` behind `{}`: write `{}`",
                option.name, option.example
            )));
        }
        input.parse::<Token![=]>()?;
        if at_end(input) {
            return Err(needs_value(option, word));
        }
        match option.value {
            Value::Expression => {
                let start = input.span();
                let value = input
                    .parse::<Expr>()
                    .map_err(|_| error(start, option.cure()))?;
                match option.name {
                    "session" => self.session = Some(value),
                    "greeting" => self.greeting = Some(value),
                    _ => self.request = Some(value),
                }
            }
            Value::Path => {
                let value = read_path(option, input)?;
                match option.name {
                    "refuse" => self.refuse = Some(value),
                    _ => self.krate = Some(value),
                }
            }
            Value::Word => read_word(option, input)?,
            _ => {
                let value = read_type(option, input)?;
                match option.name {
                    "framing" => self.framing = Some(value),
                    "format" => self.format = Some(value),
                    "server" => self.server = Some(value),
                    _ => self.reply = Some(value),
                }
            }
        }
        Ok(())
    }
}

/// Tells whether an option ends here.
fn at_end(input: ParseStream<'_>) -> bool {
    input.is_empty() || input.peek(Token![,])
}

fn needs_value(option: &Known, word: &Ident) -> Error {
    error(
        word.span(),
        format_args!(
            "`{}` needs a value: write `{}`",
            option.name, option.example
        ),
    )
}

fn read_type(option: &Known, input: ParseStream<'_>) -> Result<Type> {
    let start = input.fork();
    let wrong = || quoted(option, &start);
    if input.peek(Lit) {
        return Err(wrong());
    }
    let value: Type = input.parse().map_err(|_| wrong())?;
    if let Type::Path(path) = &value
        && let Some(last) = path.path.segments.last()
        && let PathArguments::Parenthesized(_) = last.arguments
    {
        return Err(error_at(&value, option.cure()));
    }
    if input.peek(token::Paren) || input.peek(token::Brace) {
        return Err(input.error(option.cure()));
    }
    if let Some(bytes) = quoted_argument(&value) {
        return Err(error_at(
            bytes,
            "a type takes no text: write `Delimited<{ delimiter(b\";\") }>`",
        ));
    }
    Ok(value)
}

/// Finds text or bytes among the arguments of a type.
fn quoted_argument(value: &Type) -> Option<&Lit> {
    let Type::Path(path) = value else {
        return None;
    };
    let PathArguments::AngleBracketed(arguments) = &path.path.segments.last()?.arguments else {
        return None;
    };
    for argument in arguments.args.pairs() {
        if let GenericArgument::Const(Expr::Lit(literal)) = argument.into_value()
            && let lit @ (Lit::Str(_) | Lit::ByteStr(_) | Lit::CStr(_)) = &literal.lit
        {
            return Some(lit);
        }
    }
    None
}

fn read_path(option: &Known, input: ParseStream<'_>) -> Result<Path> {
    let start = input.fork();
    if input.peek(Lit) {
        return Err(quoted(option, &start));
    }
    let value = input
        .call(Path::parse_mod_style)
        .map_err(|_| quoted(option, &start))?;
    if input.peek(token::Paren) {
        return Err(input.error(option.cure()));
    }
    Ok(value)
}

/// Reads the word that the option's example has.
fn read_word(option: &Known, input: ParseStream<'_>) -> Result<()> {
    let start = input.fork();
    match input.parse::<Ident>() {
        Ok(word) if at_end(input) && option.example.ends_with(&format!("= {word}")) => Ok(()),
        _ => Err(quoted(option, &start)),
    }
}

fn quoted(option: &Known, input: ParseStream<'_>) -> Error {
    match input.fork().parse() {
        Ok(Lit::Str(_)) => input.error(format_args!(
            "`{}` takes no quotes: write `{}`",
            option.name, option.example
        )),
        _ => input.error(option.cure()),
    }
}

fn is_far_from_all(attribute: Attribute, word: &str) -> bool {
    attribute.other().option(word).is_none() && nearest(word, &names(attribute)).is_none()
}

/// What servers and clients are told by methods.
const SETTINGS: &[&str] = &[
    "address",
    "connect_timeout",
    "drain_timeout",
    "frame_timeout",
    "half_close_timeout",
    "host",
    "idle_timeout",
    "linger",
    "max_blocking",
    "max_connections",
    "max_frame_len",
    "on_listening",
    "port",
    "reply_timeout",
    "request_timeout",
    "write_timeout",
];

fn unknown(attribute: Attribute, word: &str) -> String {
    if attribute.other().option(word).is_some() {
        return format!(
            "`{word}` is an option of `{}` only: remove it here",
            attribute.other().name()
        );
    }
    if SETTINGS.contains(&word) {
        return format!("`{word}` is a setting: call `.{word}(…)` on the server or the client");
    }
    let names = names(attribute);
    match nearest(word, &names) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("the options are `{}`", names.join(", ")),
    }
}

fn names(attribute: Attribute) -> Vec<&'static str> {
    let mut names = Vec::new();
    for known in attribute.options() {
        names.push(known.name);
    }
    names
}

fn skip_to_comma(input: ParseStream<'_>) {
    while !at_end(input) {
        // A token tree is what the input begins with, as it is not empty.
        if input.parse::<proc_macro2::TokenTree>().is_err() {
            return;
        }
    }
}

//! The usual text of a type. rustc does not keep the written text of parsed tokens.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::with_marks;

/// Returns the tokens of a type with the spaces of rustfmt.
pub(crate) fn text_of(tokens: TokenStream) -> String {
    let mut text = String::new();
    for (token, [two_before, before, _, after, _]) in with_marks(tokens) {
        let follows_word = text.ends_with(|last: char| last.is_alphanumeric() || last == '_');
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => ("{ ", " }"),
                    Delimiter::None => ("", ""),
                };
                // A space follows `'a`, `mut` or `dyn`, but not the name in `Fn(u8)`.
                let is_after_keyword = ["mut", "const", "dyn", "impl"]
                    .iter()
                    .any(|word| text.ends_with(word));
                if follows_word && (open != "(" || is_after_keyword || two_before == '\'') {
                    text.push(' ');
                }
                text.extend([open, &text_of(group.stream()), close]);
            }
            TokenTree::Punct(punct) => match punct.as_char() {
                mark @ (',' | ';') => text.extend([mark, ' ']),
                mark @ ('+' | '=') => text.extend([' ', mark, ' ']),
                '-' if after == '>' => text.push_str(" -"),
                '>' if before == '-' => text.push_str("> "),
                ':' if before != ':' && after != ':' => text.push_str(": "),
                mark => text.push(mark),
            },
            // Before a word, there is a `>` only in `for<'a> Fn`, and a quote in `extern "C" fn`.
            word => {
                if follows_word || text.ends_with(['>', '"']) {
                    text.push(' ');
                }
                text.push_str(&word.to_string());
            }
        }
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use quote::ToTokens as _;
    use syn::Type;

    use super::*;

    #[test]
    fn text_is_as_rustfmt_writes_it() {
        for text in [
            "u64",
            "()",
            "Result<Vec<(u8, [u16; 4])>, std::io::Error>",
            "&str",
            "&'a mut [Cow<'static, str>]",
            "&'a [u8]",
            "*const u8",
            "Option<Box<dyn Fn(u8, &str) -> u8 + Send + 'static>>",
            "dyn for<'a> Read<'a, Item = &'a u8>",
            "<Vec<u8> as IntoIterator>::Item",
            "[u8; { 1 }]",
            "&mut (u8, bool)",
            "&'a (u8, bool)",
            "text!('a)",
            "unsafe extern \"C\" fn(u8) -> u8",
        ] {
            let ty: Type = syn::parse_str(text).expect("a type");
            assert_eq!(text_of(ty.to_token_stream()), text);
        }
    }
}

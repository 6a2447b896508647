//! Questions about the tokens of a type. Only the compiler knows which type a name means.

use std::array;

use proc_macro2::{Group, Ident, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{GenericArgument, PathArguments, PathSegment, Type};

use super::{is_one_of, text_of};

/// Returns the type without parentheses and invisible groups around it.
pub(crate) fn bare(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => bare(&group.elem),
        Type::Paren(paren) => bare(&paren.elem),
        other => other,
    }
}

/// Returns `true` if a type has no known size, by its syntax alone.
pub(crate) fn is_unsized(bare: &Type) -> bool {
    matches!(bare, Type::Slice(_) | Type::TraitObject(_)) || is_named(bare, "str")
}

/// Returns `true` if a type is written as this single name.
pub(crate) fn is_named(ty: &Type, name: &str) -> bool {
    matches!(ty, Type::Path(path) if path.path.is_ident(name))
}

/// Returns `true` if a type is text, a number or a `bool`, by a name that every scope has.
pub(crate) fn is_value(ty: &Type) -> bool {
    const VALUES: &str =
        "bool char f32 f64 i8 i16 i32 i64 i128 isize str String u8 u16 u32 u64 u128 usize";
    match bare(ty) {
        Type::Reference(reference) => is_value(&reference.elem),
        Type::Slice(slice) => is_value(&slice.elem),
        Type::Path(path) => path.path.get_ident().is_some_and(|name| {
            let name = name.to_string();
            VALUES.split(' ').any(|value| value == name)
        }),
        _ => false,
    }
}

/// Returns `true` if a type owns the text or bytes of a literal, by its last name: the parameter can then be an
/// `impl Into` of the type. Each type can be converted into itself, so another type of this name does no harm.
pub(crate) fn is_converted(ty: &Type) -> bool {
    let Type::Path(path) = bare(ty) else {
        return false;
    };
    let last = text_of(path.path.segments.last().to_token_stream());
    ["String", "PathBuf", "Box<str>", "Vec<u8>"].contains(&last.as_str())
}

/// Returns `true` if a type is one of these handles of a protocol, such as `Push<Chat>`.
pub(crate) fn is_handle(ty: &Type, handles: &[&str], protocol: &str) -> bool {
    let Type::Path(path) = bare(ty) else {
        return false;
    };
    let last = path.path.segments.last().cloned();
    last.filter(|last| is_one_of(&last.ident, handles))
        .is_some_and(|mut last| {
            last_argument_mut(&mut last).is_some_and(|ty| is_named(ty, protocol))
        })
}

/// Returns the last generic argument of a part of a path, if it is a type.
pub(crate) fn last_argument_mut(segment: &mut PathSegment) -> Option<&mut Type> {
    match &mut segment.arguments {
        PathArguments::AngleBracketed(arguments) => match arguments.args.last_mut()? {
            GenericArgument::Type(ty) => Some(ty),
            _ => None,
        },
        _ => None,
    }
}

/// Returns `true` if both have the same tokens.
pub(crate) fn same_tokens(one: &impl ToTokens, other: &impl ToTokens) -> bool {
    one.to_token_stream().to_string() == other.to_token_stream().to_string()
}

/// Returns `true` if a word occurs anywhere in tokens, also at the end of a path.
pub(crate) fn mentions_word(tokens: &impl ToTokens, word: &str) -> bool {
    let mut tokens = flatten(tokens.to_token_stream()).into_iter();
    tokens.any(|token| matches!(token, TokenTree::Ident(ident) if ident == word))
}

/// Returns the first of these keywords in a type.
pub(crate) fn find_keyword(ty: &Type, keywords: &[&str]) -> Option<TokenTree> {
    // A type that did not parse has been reported.
    let known = Some(ty).filter(|ty| !matches!(ty, Type::Verbatim(_)));
    let mut tokens = flatten(known.to_token_stream()).into_iter();
    tokens.find(|token| keywords.contains(&&*token.to_string()))
}

/// Returns `true` if one of the names is meant in tokens: `S` is not in `other::S`.
pub(crate) fn mentions_one_of(tokens: &impl ToTokens, names: &[Ident]) -> bool {
    let starts = path_starts(tokens.to_token_stream());
    starts.iter().any(|start| names.contains(start))
}

/// Returns the identifiers in tokens whose meaning depends on the scope. An identifier after `::` is an item of the
/// path before it, after `.` it is a field or a method, and after `'` it is a lifetime. `Item` in `Iterator<Item = u8>`
/// and `Iterator<Item: Send>` is an item of the trait.
pub(crate) fn path_starts(tokens: TokenStream) -> Vec<Ident> {
    let mut found = Vec::new();
    let mut depth = 0;
    for (token, marks) in with_marks(tokens) {
        match (token, marks) {
            (TokenTree::Ident(_), [':', ':', ..] | [_, '\'', ..] | [.., '=', _]) => {}
            // The end of a range, as in `0..count`, is not a field.
            (TokenTree::Ident(_), [before, '.', ..]) if before != '.' => {}
            // Outside of `<…>`, the bound is one of a type, as in `where Item: Send`.
            (TokenTree::Ident(_), [.., ':', after]) if after != ':' && depth > 0 => {}
            (TokenTree::Ident(word), _) => found.push(word),
            (TokenTree::Group(group), _) => found.extend(path_starts(group.stream())),
            (_, [.., '<', _, _]) => depth += 1,
            (_, [_, before, '>', ..]) if before != '-' => depth -= 1,
            _ => {}
        }
    }
    found
}

/// Returns the tokens of a type, without `word` where it is a generic argument.
pub(crate) fn without_argument(tokens: TokenStream, word: &str) -> TokenStream {
    let kept = with_marks(tokens)
        .into_iter()
        .filter_map(|(token, marks)| match token {
            TokenTree::Group(group) => {
                let inner = without_argument(group.stream(), word);
                Some(Group::new(group.delimiter(), inner).into())
            }
            TokenTree::Ident(ident) if ident == word && matches!(marks[1], '<' | ',') => None,
            token => Some(token),
        });
    kept.collect()
}

/// Returns the tokens, each with five marks: of the two tokens before it, of the token itself, and of the two after it.
/// The mark of a token is its punctuation character, or a space if it is another token.
pub(crate) fn with_marks(tokens: TokenStream) -> Vec<(TokenTree, [char; 5])> {
    let tokens: Vec<_> = tokens.into_iter().collect();
    // The first two positions are before the tokens, and wrap to positions that no token has.
    let mark = |position: usize| match tokens.get(position.wrapping_sub(2)) {
        Some(TokenTree::Punct(punct)) => punct.as_char(),
        _ => ' ',
    };
    let around = |position| array::from_fn(|offset| mark(position + offset));
    let all = tokens.iter().cloned().enumerate();
    all.map(|(position, token)| (token, around(position)))
        .collect()
}

/// Returns all tokens, with those inside of groups in place of the groups.
fn flatten(tokens: TokenStream) -> Vec<TokenTree> {
    let flat = tokens.into_iter().flat_map(|token| match token {
        TokenTree::Group(group) => flatten(group.stream()),
        token => vec![token],
    });
    flat.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_after_a_path_a_dot_or_a_tick_is_another() {
        for (written, is_named) in [
            ("S", true),
            ("Vec<(u8, [S; 2])>", true),
            ("<S as Iterator>::Item", true),
            ("S::Item", true),
            ("Vec<S::Item>", true),
            ("Vec::<S>", true),
            ("other::S", false),
            ("::S", false),
            ("&'S str", false),
            ("dyn Iterator<S = u8>", false),
            ("dyn Iterator<Item = S>", true),
            ("impl Iterator<S: Send>", false),
            ("impl Iterator<Item: From<S>>", true),
            ("A<fn() -> u8, S: Send>", false),
            ("where S: Send", true),
            ("where A<fn() -> u8>: Send, S: Send", true),
            ("Store", false),
            ("self.S", false),
            ("a.S()", false),
            ("..S", true),
        ] {
            let tokens: TokenStream = written.parse().expect("tokens");
            let name = Ident::new("S", proc_macro2::Span::call_site());
            assert_eq!(mentions_one_of(&tokens, &[name]), is_named, "{written}");
        }
    }
}

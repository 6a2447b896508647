//! Questions about the tokens of a type. Which type a name means, only the compiler knows.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens;
use syn::Type;

/// Returns the type without parentheses and invisible groups around it.
pub(crate) fn bare(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => bare(&group.elem),
        Type::Paren(paren) => bare(&paren.elem),
        other => other,
    }
}

/// Returns whether a type has no known size whatever is in scope.
pub(crate) fn is_unsized(bare: &Type) -> bool {
    matches!(bare, Type::Slice(_) | Type::TraitObject(_)) || is_named(bare, "str")
}

/// Returns whether a type is written as this single name.
pub(crate) fn is_named(ty: &Type, name: &str) -> bool {
    matches!(ty, Type::Path(path) if path.path.is_ident(name))
}

/// Returns whether both are written the same.
pub(crate) fn same_tokens(one: &impl ToTokens, other: &impl ToTokens) -> bool {
    one.to_token_stream().to_string() == other.to_token_stream().to_string()
}

/// Returns the first `impl` in a type.
pub(crate) fn find_impl(ty: &Type) -> Option<TokenTree> {
    let mut tokens = tokens_of(ty).into_iter();
    tokens.find(|token| token.to_string() == "impl")
}

/// Returns whether a type contains `Future<Output = …>`. `Output =` shows that this `Future` is a trait; a
/// type of the user's may have the same name.
pub(crate) fn has_future(ty: &Type) -> bool {
    let tokens = tokens_of(ty);
    let words: Vec<_> = tokens.iter().map(ToString::to_string).collect();
    let mut runs = words.windows(4);
    runs.any(|run| run == ["Future", "<", "Output", "="])
}

/// Returns whether one of the names is meant in tokens: `S` is not in `other::S`.
pub(crate) fn names_one_of(tokens: &impl ToTokens, names: &[Ident]) -> bool {
    let starts = path_starts(tokens.to_token_stream());
    starts.iter().any(|start| names.contains(start))
}

/// Returns the identifiers in tokens that a scope gives a meaning to. One after `::` is an item of what
/// is before it, and one after `'` is a lifetime.
pub(crate) fn path_starts(tokens: TokenStream) -> Vec<Ident> {
    let mut found = Vec::new();
    let mut before = [' '; 2];
    for token in tokens {
        let mut mark = ' ';
        match token {
            TokenTree::Ident(word) if !matches!(before, [':', ':'] | [_, '\'']) => found.push(word),
            TokenTree::Punct(punct) => mark = punct.as_char(),
            TokenTree::Group(group) => found.extend(path_starts(group.stream())),
            TokenTree::Ident(_) | TokenTree::Literal(_) => {}
        }
        before = [before[1], mark];
    }
    found
}

/// Returns all tokens of a type. A type that did not parse has none, so that it is no second error.
fn tokens_of(ty: &Type) -> Vec<TokenTree> {
    match ty {
        Type::Verbatim(_) => Vec::new(),
        _ => flatten(ty.to_token_stream()),
    }
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
    fn name_after_a_path_or_a_tick_is_another() {
        for (written, is_named) in [
            ("S", true),
            ("Vec<(u8, [S; 2])>", true),
            ("<S as Iterator>::Item", true),
            ("S::Item", true),
            ("Vec::<S>", true),
            ("other::S", false),
            ("::S", false),
            ("&'S str", false),
            ("Store", false),
        ] {
            let tokens: TokenStream = written.parse().expect("tokens");
            let name = Ident::new("S", proc_macro2::Span::call_site());
            assert_eq!(names_one_of(&tokens, &[name]), is_named, "{written}");
        }
    }

    #[test]
    fn future_with_an_output_is_the_trait() {
        for (written, has) in [
            ("impl Future<Output = u8>", true),
            (
                "Pin<Box<dyn std::future::Future<Output = u8> + Send>>",
                true,
            ),
            ("(u8, Box<dyn Future<Output = u8>>)", true),
            ("Result<Future, Box<dyn Error>>", false),
            ("Future<Output>", false),
            ("Box<dyn Iterator<Item = Future>>", false),
        ] {
            let ty: Type = syn::parse_str(written).expect("a type");
            assert_eq!(has_future(&ty), has, "{written}");
        }
    }
}

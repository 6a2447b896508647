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

/// Returns where `impl Trait` occurs in a type, if it does.
pub(crate) fn find_impl(ty: &Type) -> Option<TokenTree> {
    find(ty.to_token_stream(), &|word| word == "impl")
}

/// Returns whether one of the names occurs in tokens. A text in quotes is one as well.
pub(crate) fn mentions<N: ToString>(tokens: &impl ToTokens, names: &[N]) -> bool {
    let is_it = |word: &str| names.iter().any(|name| word == name.to_string());
    find(tokens.to_token_stream(), &is_it).is_some()
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

/// Finds an identifier or a literal, also inside of groups.
fn find(tokens: TokenStream, is_it: &dyn Fn(&str) -> bool) -> Option<TokenTree> {
    tokens.into_iter().find_map(|token| match &token {
        TokenTree::Group(group) => find(group.stream(), is_it),
        word => is_it(&word.to_string()).then_some(token),
    })
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
}

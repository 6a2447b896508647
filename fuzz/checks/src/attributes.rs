//! Attributes of any options on any item: no panic, and the result is items.

use proc_macro2::TokenStream;

/// Words that options and items have. What opens a group is closed at its end.
const WORDS: &[&str] = &[
    "fn",
    "async",
    "mod",
    "struct",
    "enum",
    "trait",
    "impl",
    "type",
    "use",
    "const",
    "static",
    "unsafe",
    "extern",
    "pub",
    "crate",
    "self",
    "Self",
    "super",
    "mut",
    "ref",
    "dyn",
    "where",
    "for",
    "as",
    "in",
    "move",
    "return",
    "let",
    "match",
    "r#type",
    "union",
    "macro_rules",
    "!",
    "request",
    "reply",
    "info",
    "session",
    "out",
    "name",
    "greet",
    "Greet",
    "Vec",
    "Option",
    "Result",
    "String",
    "str",
    "u8",
    "u32",
    "bool",
    "usize",
    "Replies",
    "Requests",
    "Push",
    "Response",
    "Rejection",
    "ConnectionInfo",
    "Upgrade",
    "Closed",
    "Context",
    "'a",
    "'_",
    "'static",
    "&",
    "&&",
    "*",
    "+",
    "->",
    "=>",
    "=",
    "==",
    ":",
    "::",
    ";",
    ",",
    ".",
    "..",
    "...",
    "?",
    "|",
    "#",
    "@",
    "$",
    "<",
    ">",
    "<<",
    ">>",
    "_",
    "1",
    "2u8",
    "1.5",
    "\"\"",
    "\"Ann\"",
    "b\"x\"",
    "'x'",
    "r#\"x\"#",
    "framing",
    "format",
    "Lines",
    "LengthPrefixed",
    "Multiplexed",
    "Json",
    "Plain",
    "server",
    "session",
    "blocking",
    "replies",
    "requests",
    "push",
    "is_push",
    "greeting",
    "half_close",
    "concurrent",
    "unordered",
    "reject_with",
    "crate =",
    "describe",
    "(",
    "[",
    "{",
    ")",
    "]",
    "}",
    "()",
    "{}",
    "-> String {}",
    "fn f",
    "-> u8",
    "name : & str",
    "#[inline]",
    "#[cfg(test)]",
    "/// Doc.\n",
];

/// Expands two inputs: the options, and behind an empty line the item, as text; and the words that the bytes choose.
pub fn check(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        let (options, item) = text.split_once("\n\n").unwrap_or(("", text));
        expand(options, item);
    }
    let Some((&[kind, options], words)) = data.split_first_chunk() else {
        return;
    };
    let (options, item) = words.split_at(usize::from(options % 16).min(words.len()));
    let (options, item) = (text(options), text(item));
    match kind % 4 {
        0 => expand(&options, &item),
        1 => expand(
            &options,
            &format!("fn greet(name: &str, {item}) -> String {{}}"),
        ),
        2 => expand(
            &options,
            &format!("async fn greet(name: &str) -> {item} {{}}"),
        ),
        _ => expand(&options, &format!("mod greet {{ {item} }}")),
    }
}

/// Returns the words that the bytes choose. A word that closes a group, and is not the right one, is left out.
fn text(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut open = Vec::new();
    for byte in bytes {
        let word = WORDS[usize::from(*byte) % WORDS.len()];
        match word {
            "(" => open.push(")"),
            "[" => open.push("]"),
            "{" => open.push("}"),
            ")" | "]" | "}" if open.pop_if(|expected| *expected == word).is_none() => continue,
            _ => {}
        }
        text += word;
        text.push(' ');
    }
    open.iter().rev().for_each(|word| text += word);
    text
}

fn expand(options: &str, item: &str) {
    let (Ok(options), Ok(item)) = (options.parse::<TokenStream>(), item.parse::<TokenStream>())
    else {
        return;
    };
    let is_item = syn::parse2::<syn::File>(item.clone()).is_ok();
    for expand in [
        tcs_attributes::server_protocol,
        tcs_attributes::client_protocol,
    ] {
        let expanded = expand(options.clone(), item.clone());
        if is_item {
            syn::parse2::<syn::File>(expanded).expect("items");
        }
    }
}

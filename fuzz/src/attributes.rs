//! Attributes of any options on any item: no panic, and the result is items.

use proc_macro2::TokenStream;

/// The options, and behind an empty line the item.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let (options, item) = text.split_once("\n\n").unwrap_or(("", text));
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

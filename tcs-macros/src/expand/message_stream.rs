//! Writes the implementations of the traits of messages beside requests and replies.

use proc_macro2::{Ident, TokenStream};
use quote::quote_spanned;
use syn::{Generics, Path};

use super::protocol_type::or_unknown;
use crate::{
    model::{generics::predicates, message::MessageStream},
    options::StreamKind,
    spans::{Library, ident_at, start_of},
};

/// Implements the trait of one kind of messages for the type `applied`, which has `generics`. `item_name` is the
/// name of the item under the attribute.
///
/// The implementation has no bounds on the types that the protocol keeps, because rustc would repeat their errors here.
pub(super) fn implement(
    stream: &MessageStream,
    is_push: Option<&Path>,
    library: &Library,
    item_name: &Ident,
    applied: &TokenStream,
    generics: &Generics,
    format: &TokenStream,
) -> TokenStream {
    let kind = stream.kind;
    let message = or_unknown(stream.message.as_ref(), library, item_name);
    let span = start_of(&message);
    let private = library.module(span);
    let [trait_name, item] =
        [kind.trait_name, kind.associated_type].map(|name| Ident::new(name, span));
    let keyword = ident_at(item_name, "impl");
    let (impl_generics, ..) = generics.split_for_impl();
    let predicates = predicates(generics);
    let none = || quote_spanned!(span=> const HAS_IS_PUSH: bool = false;);
    let is_push = (kind == StreamKind::EVENTS)
        .then(|| is_push.map_or_else(none, |path| self::is_push(path, "is_push")));
    // For `push = Event<'_>`:
    //
    //     impl Pushes for Chat {
    //         type Format = Plain;
    //         type Event<'item> = Event<'item>;
    //     }
    quote_spanned! {span=>
        #[automatically_derived]
        #keyword #impl_generics #private::#trait_name for #applied
        where
            #(#predicates,)*
        {
            type Format = #format;
            type #item<'item> = #message;
            #is_push
        }
    }
}

/// Writes a function of this name that tells events from replies.
pub(super) fn is_push(path: &Path, name: &str) -> TokenStream {
    let name = Ident::new(name, start_of(path));
    quote_spanned! {start_of(path)=>
        fn #name(message: &[u8]) -> bool {
            let is_push: fn(&[u8]) -> bool = #path;
            is_push(message)
        }
    }
}

//! Writes the protocol that answers all operations; cannot fail.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, format_ident, quote, quote_spanned};
use syn::{Lifetime, ext::IdentExt as _, parse_quote};

use super::{
    messages::Message,
    model::{Operation, Operations},
    module::Module,
    names::generated,
};
use crate::{
    args::Args,
    emit::{Field, Origin, Shape, allowance, turbofish, where_clause},
    generics, lifetimes,
    server::{
        expand::{Expansion, state_bounds},
        handler::{Call, CallKind, Handler, call},
        model::{Argument, Session, State},
    },
    spans::{at, list, numbered},
};

/// Writes `Protocol` and what it implements; with stubs unless the operations are right.
pub(super) fn expand(
    args: &Args,
    module: &Module,
    operations: &mut Operations<'_>,
    is_right: bool,
) -> TokenStream {
    let krate = args.krate();
    let name = Ident::new("Protocol", module.ident.span());
    if is_right {
        let request = Message::request(operations).with("'exchange");
        let reply = Message::reply(operations).with("'exchange");
        operations.model.request = Some(parse_quote!(#request));
        operations.model.reply = Some(parse_quote!(#reply));
    }
    let model = &operations.model;
    let shape = Shape {
        origin: Origin {
            vis: module.vis_inside(),
            attrs: TokenStream::new(),
            docs: Some(format!(
                " The protocol of the operations of `{}`: what a server serves.",
                module.ident.unraw()
            )),
            what: "the operations",
        },
        name: &name,
        generics: &model.generics,
        fields: &model.fields,
    };
    let serving = Serving {
        operations,
        krate: &krate,
        span: at(&module.ident),
    };
    let handler = is_right.then(|| serving.handler(&module.ident));
    let calls = is_right.then(|| serving.calls(&name));
    let implementation = Expansion {
        args,
        place: &module.ident,
        model,
        krate: krate.clone(),
    }
    .implementation(&name, handler);
    let declared = shape.declare(&quote!(#calls #implementation));
    if is_right {
        quote!(#krate::__private::operations! { #declared })
    } else {
        declared
    }
}

struct Serving<'a> {
    operations: &'a Operations<'a>,
    krate: &'a TokenStream,
    span: Span,
}

impl Serving<'_> {
    /// How all operations are processed. Where some may wait, the others are ready when the future is
    /// first polled.
    fn handler(&self, place: &Ident) -> Handler {
        let (request, reply) = (generated("Request"), generated("Reply"));
        let mut waits = false;
        let mut arms = TokenStream::new();
        for operation in &self.operations.list {
            let Operation {
                function,
                variant,
                arguments,
                model,
                is_blocking,
                ..
            } = operation;
            let kind = CallKind::of(function, *is_blocking);
            waits |= kind != CallKind::Sync;
            let ident = &function.sig.ident;
            let span = at(ident);
            let bound = operation.bound(span);
            let mut values = Vec::new();
            for number in 0..arguments.len() {
                values.push(numbered("argument", number, span).to_token_stream());
            }
            let turbofish = turbofish(&model.generics);
            let target = if kind == CallKind::Async {
                let helper = helper(ident);
                quote_spanned!(span=> Self::#helper)
            } else {
                quote_spanned!(span=> #ident #turbofish)
            };
            let call = call(&target, ident, kind, model, self.krate, &values);
            let Call { extractions, value } = call;
            arms.extend(quote_spanned! {span=>
                #request::#bound => {
                    #extractions
                    ::core::result::Result::Ok(#reply::#variant(#value))
                }
            });
        }
        let result = quote_spanned!(self.span=> match request { #arms });
        Handler::new(place, &result, waits)
    }

    /// The calls of functions that wait, each with a future that is `Send` by its own words: so one
    /// that is not is told at that function.
    fn calls(&self, name: &Ident) -> Option<TokenStream> {
        let Self {
            krate,
            span,
            operations,
        } = self;
        let model = &operations.model;
        let mut calls = TokenStream::new();
        for operation in &operations.list {
            if operation.function.is_async() {
                calls.extend(self.call(operation));
            }
        }
        if calls.is_empty() {
            return None;
        }
        let (impl_generics, type_generics, _) = model.generics.split_for_impl();
        let where_clause = where_clause(*span, &model.generics, &state_bounds(model, krate));
        let allowance = allowance(*span);
        Some(quote_spanned! {*span=>
            #[automatically_derived]
            #allowance
            impl #impl_generics #name #type_generics #where_clause {
                #calls
            }
        })
    }

    fn call(&self, operation: &Operation<'_>) -> TokenStream {
        let Operation {
            function,
            arguments,
            reply,
            model,
            ..
        } = operation;
        let ident = &function.sig.ident;
        let span = at(ident);
        let helper = helper(ident);
        let exchange = Lifetime::new("'exchange", Span::mixed_site());
        let mut plain = arguments.iter();
        let (mut parameters, mut values) = (TokenStream::new(), TokenStream::new());
        for (number, argument) in model.arguments.iter().enumerate() {
            let ty = match argument {
                Argument::Request => match plain.next() {
                    Some(Field { ty, .. }) => lifetimes::unify(ty, "'exchange").to_token_stream(),
                    None => TokenStream::new(),
                },
                Argument::State(index) => match model.states.get(*index) {
                    Some(State { borrowed, .. }) => quote!(&#exchange (#borrowed)),
                    None => TokenStream::new(),
                },
                Argument::Session => match &model.session {
                    Some(Session { ty, mutable, .. }) => {
                        let mutability = mutable.then(|| quote!(mut));
                        quote!(&#exchange #mutability #ty)
                    }
                    None => TokenStream::new(),
                },
                Argument::Extracted(ty) => ty.to_token_stream(),
            };
            let name = numbered("value", number, span);
            parameters.extend(quote_spanned!(span=> #name: #ty,));
            values.extend(quote_spanned!(span=> #name,));
        }
        let reply = lifetimes::unify(reply, "'exchange");
        let turbofish = turbofish(&model.generics);
        let captured = list(&generics::names(&self.operations.model.generics));
        quote_spanned! {span=>
            #[inline]
            fn #helper<#exchange>(
                #parameters
            ) -> impl ::core::future::Future<Output = #reply> + ::core::marker::Send
                + use<#exchange, #captured>
            {
                #ident #turbofish (#values)
            }
        }
    }
}

fn helper(ident: &Ident) -> Ident {
    format_ident!("__{}", ident.unraw(), span = ident.span())
}

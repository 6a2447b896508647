//! Writes the protocol that answers all operations; cannot fail.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{GenericParam, Lifetime, ext::IdentExt as _, parse_quote};

use super::{
    messages::Message,
    model::{Operation, Operations, generated},
    module::Module,
};
use crate::{
    args::Args,
    emit::{Origin, Shape, bounds, turbofish},
    lifetimes,
    server::{
        expand::{Bodies, Call, Expansion, call, waiting},
        model::{Argument, Model, Session, State},
    },
    spans::at,
};

/// Writes `Protocol` and what it implements; with stubs unless the operations are right.
pub(super) fn expand(
    args: &Args,
    module: &Module,
    operations: &Operations<'_>,
    is_right: bool,
) -> TokenStream {
    let krate = args.krate();
    let name = Ident::new("Protocol", module.ident.span());
    let source = &operations.model;
    let mut model = Model::new(source.generics.clone());
    model.states.clone_from(&source.states);
    model.session.clone_from(&source.session);
    if is_right {
        let request = Message::request(operations).with("'exchange");
        let reply = Message::reply(operations).with("'exchange");
        model.request = Some(parse_quote!(#request));
        model.reply = Some(parse_quote!(#reply));
    }
    let vis = module.vis_inside();
    let shape = Shape {
        origin: Origin {
            vis: &vis,
            attrs: Vec::new(),
            docs: Some(format!(
                " The protocol of the operations of `{}`: what a server serves.",
                module.ident.unraw()
            )),
            what: "the operations",
        },
        name: &name,
        generics: &source.generics,
        fields: &source.fields,
    };
    // The fields stand with the type, and once more for what is said of them.
    model.fields = source
        .fields
        .iter()
        .map(|field| crate::emit::Field {
            name: field.name.clone(),
            ty: field.ty.clone(),
        })
        .collect();
    let serving = Serving {
        operations,
        model: &model,
        krate: &krate,
        span: at(&module.ident),
    };
    let bodies = is_right.then(|| serving.bodies());
    let calls = is_right.then(|| serving.calls(&name));
    let implementation = Expansion {
        args,
        place: &module.ident,
        model: &model,
        krate: krate.clone(),
    }
    .implementation(&name, bodies);
    let declared = shape.declare(&quote!(#calls #implementation));
    if is_right {
        quote!(#krate::__private::operations! { #declared })
    } else {
        declared
    }
}

struct Serving<'a> {
    operations: &'a Operations<'a>,
    model: &'a Model,
    krate: &'a TokenStream,
    span: Span,
}

impl Serving<'_> {
    fn bodies(&self) -> Bodies {
        let span = self.span;
        let waits = self
            .operations
            .list
            .iter()
            .any(|operation| operation.function.is_async() || operation.is_blocking);
        let (request, reply) = (generated("Request"), generated("Reply"));
        let arms = self.operations.list.iter().map(|operation| {
            let Operation {
                function,
                variant,
                arguments,
                model,
                is_blocking,
                ..
            } = operation;
            let ident = &function.sig.ident;
            let place = at(ident);
            let names = arguments.iter().map(|argument| &argument.name);
            let bound: Vec<TokenStream> = (0..arguments.len())
                .map(|number| {
                    let name = format_ident!("argument_{number}", span = place);
                    quote!(#name)
                })
                .collect();
            let turbofish = turbofish(&model.generics);
            let target = if function.is_async() {
                let helper = helper(ident);
                quote_spanned!(place=> Self::#helper)
            } else {
                quote_spanned!(place=> #ident #turbofish)
            };
            let Call { extractions, call } = call(&target, ident, model, self.krate, &bound);
            let value = if function.is_async() {
                quote_spanned!(place=> #call.await)
            } else if *is_blocking {
                quote_spanned!(place=> facts.block(move || #call).await)
            } else {
                call
            };
            quote_spanned! {place=>
                #request::#variant { #(#names: #bound),* } => {
                    #extractions
                    ::core::result::Result::Ok(#reply::#variant(#value))
                }
            }
        });
        let body = quote_spanned!(span=> match request { #(#arms)* });
        if waits {
            Bodies {
                process_request: waiting(span, &body),
                process_at_once: None,
            }
        } else {
            Bodies {
                process_request: quote_spanned! {span=>
                    async move { self.process_at_once(context, request) }
                },
                process_at_once: Some(body),
            }
        }
    }

    /// The calls of functions that wait, each with a future that is `Send` by its own words: so one
    /// that is not is told at that function.
    fn calls(&self, name: &Ident) -> Option<TokenStream> {
        let Self {
            model,
            krate,
            span,
            operations,
        } = self;
        let mut calls = operations
            .list
            .iter()
            .filter(|operation| operation.function.is_async())
            .map(|operation| self.call(operation))
            .peekable();
        calls.peek()?;
        let (impl_generics, type_generics, where_clause) = model.generics.split_for_impl();
        let predicates = where_clause
            .map(|clause| &clause.predicates)
            .into_iter()
            .flatten();
        let fields = model.fields.iter().map(|field| &field.ty);
        let places = model.states.iter().map(|state| &state.borrowed);
        let states: Vec<_> = fields.zip(places).collect();
        let bounds = bounds(&model.generics, krate, "State", &states);
        Some(quote_spanned! {*span=>
            #[automatically_derived]
            #[allow(deprecated, clippy::all, clippy::pedantic, clippy::nursery, reason = "it is generated")]
            impl #impl_generics #name #type_generics
            where #(#predicates,)* #bounds
            {
                #(#calls)*
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
        let types: Vec<TokenStream> = model
            .arguments
            .iter()
            .map(|argument| match argument {
                Argument::Request => {
                    let ty = plain
                        .next()
                        .map(|argument| lifetimes::unify(&argument.ty, "'exchange"));
                    quote!(#ty)
                }
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
                Argument::Extracted(ty) => quote!(#ty),
            })
            .collect();
        let names: Vec<_> = (0..types.len())
            .map(|number| format_ident!("value_{number}", span = span))
            .collect();
        let reply = lifetimes::unify(reply, "'exchange");
        let turbofish = turbofish(&model.generics);
        let captured = self.model.generics.params.iter().map(|param| match param {
            GenericParam::Type(param) => &param.ident,
            GenericParam::Const(param) => &param.ident,
            GenericParam::Lifetime(param) => &param.lifetime.ident,
        });
        quote_spanned! {span=>
            #[inline]
            fn #helper<#exchange>(
                #(#names: #types),*
            ) -> impl ::core::future::Future<Output = #reply> + ::core::marker::Send
                + use<#exchange, #(#captured),*>
            {
                #ident #turbofish (#(#names),*)
            }
        }
    }
}

fn helper(ident: &Ident) -> Ident {
    format_ident!("__{}", ident.unraw(), span = ident.span())
}

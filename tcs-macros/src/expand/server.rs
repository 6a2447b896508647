//! Writes the implementation of `ServerProtocol`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote_spanned;
use syn::parse_quote;

use super::{
    call::{call, state},
    checks::{checks, framing_check},
    messages::Message,
    parts::{Kept, framing, generated, or_else, sending, where_clause},
    shape::{Origin, declare},
};
use crate::{
    aim::{at, twin},
    args::Args,
    errors::Errors,
    item::{Function, Module},
    model::{
        operations::Operations,
        server::{Protocol, Session},
    },
    types::Field,
};

/// Writes the type of a function and what it implements; with stubs unless the function is right.
pub(super) fn function(
    args: &Args,
    function: &Function,
    name: &Ident,
    errors: &mut Errors,
) -> TokenStream {
    let (protocol, exchange) = Protocol::of_function(args, function, errors);
    let answer = errors.is_empty().then(|| {
        let request = Ident::new("request", at(protocol.place));
        call(args, &protocol, &exchange, vec![request], |reply| reply)
    });
    let server = Server {
        args,
        name,
        protocol: &protocol,
        waits: exchange.waits(),
    };
    let implementation = server.implementation(answer);
    let origin = Origin::function(function);
    let (generics, fields) = (&protocol.generics, &protocol.fields);
    declare(&origin, name, generics, fields, &implementation)
}

/// Writes the type of all operations and what it implements; with stubs unless they are right.
pub(super) fn module(
    args: &Args,
    module: &Module,
    operations: &mut Operations<'_>,
    is_right: bool,
) -> TokenStream {
    let name = Ident::new("Protocol", module.ident.span());
    if is_right {
        let request = Message::request(operations).with("'exchange");
        let reply = Message::reply(operations).with("'exchange");
        operations.protocol.request = Some(parse_quote!(#request));
        operations.protocol.reply = Some(parse_quote!(#reply));
    }
    let Operations { list, protocol, .. } = operations;
    let (request, reply) = (generated("Request"), generated("Reply"));
    let arms = list.iter().map(|operation| {
        let span = at(&operation.exchange.function.sig.ident);
        let (message, variant) = (operation.bound(span), &operation.variant);
        let arguments = operation.bound_arguments(span);
        let make = |value| quote_spanned!(span=> #reply::#variant(#value));
        let answer = call(args, protocol, &operation.exchange, arguments, make);
        quote_spanned!(span=> #request::#message => { #answer })
    });
    let span = at(&module.ident);
    let answer = is_right.then(|| quote_spanned!(span=> match request { #(#arms)* }));
    let server = Server {
        args,
        name: &name,
        protocol,
        waits: list.iter().any(|operation| operation.exchange.waits()),
    };
    let implementation = server.implementation(answer);
    let origin = Origin::module(module);
    let (generics, fields) = (&protocol.generics, &protocol.fields);
    let declared = declare(&origin, &name, generics, fields, &implementation);
    if !is_right {
        return declared;
    }
    let private = args.library.at(span);
    quote_spanned!(span=> #private::operations! { #declared })
}

struct Server<'a> {
    args: &'a Args,
    name: &'a Ident,
    protocol: &'a Protocol<'a>,
    /// Whether a function may have to wait.
    waits: bool,
}

impl Server<'_> {
    /// Writes the implementation; with stubs if there is no `answer`, an expression in which `info`,
    /// `session` and `request` are in scope, and `?` and `.await` may stand.
    fn implementation(&self, answer: Option<TokenStream>) -> TokenStream {
        let (args, name, protocol) = (self.args, self.name, self.protocol);
        let (span, place) = (at(name), at(protocol.place));
        let private = args.library.at(span);
        let generics = &protocol.generics;
        let twin = twin("impl", protocol.place);
        let (impl_generics, type_generics, _) = generics.split_for_impl();
        let is_right = answer.is_some();
        let kept = self.kept(is_right);
        let where_clause = where_clause(span, generics, &kept.bounds);
        let kept = &kept.checks;
        let framing = framing(args, span);
        let format = or_else(args.format.as_ref(), quote_spanned!(span=> #private::Plain));
        let unknown = quote_spanned!(span=> #private::Unknown);
        let request = or_else(protocol.request.as_ref(), unknown.clone());
        let reply = or_else(protocol.reply.as_ref(), unknown);
        let session = protocol.session.as_ref().map_or_else(
            || quote_spanned!(span=> type Session = ();),
            |Session { ty, .. }| quote_spanned!(at(ty)=> type Session = #ty;),
        );
        let future = quote_spanned! {place=>
            impl ::core::future::Future<
                Output = ::core::result::Result<Self::Reply<'exchange>, #private::Rejection>
            > + ::core::marker::Send
        };
        let waits =
            (is_right && !self.waits).then(|| quote_spanned!(span=> const WAITS: bool = false;));
        let half_close = args
            .given("half_close")
            .map(|option| quote_spanned!(at(option)=> const ENDS_AT_HALF_CLOSE: bool = true;));
        let (open_session, greeting, reject_with) = if is_right {
            (self.open_session(), self.greeting(), self.reject_with())
        } else {
            (quote_spanned!(place=> ::core::unimplemented!()), None, None)
        };
        let answer = answer.unwrap_or_else(|| quote_spanned!(place=> ::core::unimplemented!()));
        let body = quote_spanned! {place=>
            let info = context.info;
            let session = context.session;
            async move { #answer }
        };
        let framing_of = quote_spanned!(span=> <#name as #private::ServerProtocol>::Framing);
        let checks = is_right.then(|| checks(args, generics, &framing_of));
        let mistake = quote_spanned!(span=> #private::framing_error::<#name>);
        let framing_check = framing_check(args, generics, &mistake);
        quote_spanned! {span=>
            #framing_check
            #(#kept)*

            #[automatically_derived]
            #twin #impl_generics #private::ServerProtocol for #name #type_generics #where_clause {
                type Framing = #framing;
                type Format = #format;
                #session
                type Request<'exchange> = #request;
                type Reply<'exchange> = #reply;

                fn open_session(&self, peer: &#private::Peer) -> Self::Session {
                    #open_session
                }

                #greeting

                #reject_with

                #half_close

                fn process_request<'exchange>(
                    &'exchange self,
                    context: #private::Context<'exchange, Self::Session>,
                    request: Self::Request<'exchange>,
                ) -> #future {
                    #body
                }

                #waits
            }

            #checks
        }
    }

    /// What the types must be, as far as the function is right: each state, and each type parameter,
    /// can be shared, and a session can be carried from thread to thread.
    fn kept(&self, is_right: bool) -> Kept<'_> {
        let Self { args, protocol, .. } = self;
        let mut kept = Kept::new(&args.library, &protocol.generics, protocol.place, "State");
        if is_right {
            for state in &protocol.states {
                kept.add(&state.ty, "State", "shared");
            }
            if let Some(session) = &protocol.session {
                kept.add(&session.ty, "Carried", "carried");
            }
        }
        kept
    }

    fn open_session(&self) -> TokenStream {
        let Self { args, protocol, .. } = self;
        let Some(Session { ty, .. }) = &protocol.session else {
            return TokenStream::new();
        };
        if let Some(expression) = &args.session {
            let scope = self.scope();
            return quote_spanned!(at(expression)=> #scope #expression);
        }
        let start = args.library.item("Start", ty);
        quote_spanned!(at(ty)=> <#ty as #start>::start())
    }

    fn greeting(&self) -> Option<TokenStream> {
        let Self { args, protocol, .. } = self;
        let greeting = args.greeting.as_ref()?;
        let span = at(protocol.place);
        let private = args.library.at(span);
        let scope = self.scope();
        let session = protocol
            .session
            .iter()
            .filter_map(|session| session.name.as_ref());
        let message = sending(args, &quote_spanned!(span=> Self::Format), greeting);
        Some(quote_spanned! {span=>
            const HAS_GREETING: bool = true;

            fn greeting<'exchange>(
                &'exchange self,
                peer: &'exchange #private::Peer,
                session: &'exchange mut Self::Session,
            ) -> ::core::option::Option<impl #private::Encode<Self::Format>> {
                #scope
                #(let #session = session;)*
                ::core::option::Option::Some(#message)
            }
        })
    }

    fn reject_with(&self) -> Option<TokenStream> {
        let path = self.args.reject_with.as_ref()?;
        let span = at(path);
        let private = self.args.library.at(span);
        let encode = self.args.library.item("Encode", path);
        Some(quote_spanned! {span=>
            fn reject_with<'exchange>(
                &'exchange self,
                rejection: &'exchange #private::Rejection,
            ) -> ::core::option::Option<impl #private::Encode<Self::Format>> {
                const { #private::needs_words::<Self::Framing>() }
                let words: fn(&'exchange #private::Rejection) -> _ = #path;
                ::core::option::Option::Some(#private::sending(move |out| {
                    #encode::<Self::Format>::encode(words(rejection), out)
                }))
            }
        })
    }

    /// Brings the peer and the states into the scope of an expression of the user's.
    fn scope(&self) -> TokenStream {
        let span = at(self.protocol.place);
        let peer = Ident::new("peer", Span::call_site());
        let states = self.protocol.states.iter().map(|known| {
            let (Field { name, ty }, value) = (known, state(known, span));
            quote_spanned!(span=> let #name: &(#ty) = #value;)
        });
        quote_spanned! {span=>
            let #peer = peer;
            #(#states)*
        }
    }
}

//! Writes the implementation of `ServerProtocol`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};

use super::{
    call::{call, state},
    checks::Requirements,
    messages::{bound_arguments, bound_request, messages},
    parts::{encoder, framing, generated, or_else},
    shape::{Origin, Shape},
};
use crate::{
    aim::at,
    args::Args,
    model::{
        Field,
        operations::Operations,
        server::{Protocol, ServerFunction, Session},
    },
};

/// Writes the protocol of a function.
pub(super) fn function(args: &Args, function: &ServerFunction<'_>) -> TokenStream {
    let (protocol, handler) = (&function.protocol, &function.handler);
    let origin = Origin::function(handler.function);
    let shape = shape(args, protocol, origin, function.is_valid);
    let [request_alias, request] = shape.message_type("Request", function.request.as_ref());
    let [reply_alias, reply] = shape.message_type("Reply", function.reply.as_ref());
    let answer = function.is_valid.then(|| {
        let request = Ident::new("request", at(protocol.place));
        call(args, protocol, handler, vec![request], |reply| reply)
    });
    let server = Server {
        args,
        protocol,
        messages: quote!(#request #reply),
        answer,
    };
    server.declare(&shape, &quote!(#request_alias #reply_alias))
}

/// Writes the protocol of all operations.
pub(super) fn module(args: &Args, operations: &Operations<'_>) -> TokenStream {
    let (module, protocol) = (operations.module, &operations.protocol);
    let span = at(&module.ident);
    let (request, reply) = (generated("Request"), generated("Reply"));
    let answer = operations.is_valid.then(|| {
        let arms = operations.list.iter().map(|operation| {
            let span = at(&operation.handler.function.sig.ident);
            let (message, variant) = (bound_request(operation, span), &operation.variant);
            let arguments = bound_arguments(operation, span);
            let wrap = |value| quote_spanned!(span=> #reply::#variant(#value));
            let answer = call(args, protocol, &operation.handler, arguments, wrap);
            quote_spanned!(span=> #request::#message => { #answer })
        });
        quote_spanned!(span=> match request { #(#arms)* })
    });
    let messages = messages(operations).map(|message| message.item(span));
    let server = Server {
        args,
        protocol,
        messages: quote!(#(#messages)*),
        answer,
    };
    let shape = shape(args, protocol, Origin::module(module), operations.is_valid);
    let declared = server.declare(&shape, &TokenStream::new());
    let private = args.library.at(span);
    quote_spanned!(span=> #private::operations! { #declared })
}

fn shape<'a>(
    args: &'a Args,
    protocol: &'a Protocol<'_>,
    origin: Origin,
    is_valid: bool,
) -> Shape<'a> {
    Shape {
        args,
        origin,
        name: &protocol.name,
        generics: &protocol.generics,
        fields: &protocol.fields,
        is_valid,
    }
}

struct Server<'a> {
    args: &'a Args,
    protocol: &'a Protocol<'a>,
    /// The associated types `Request` and `Reply`.
    messages: TokenStream,
    /// Answers a request: an expression with `info`, `session` and `request` in scope, which may contain
    /// `?` and `.await`. There is none if a function is wrong.
    answer: Option<TokenStream>,
}

impl Server<'_> {
    /// Writes the type and its implementation, after the declarations that the messages need.
    fn declare(&self, shape: &Shape<'_>, declarations: &TokenStream) -> TokenStream {
        let span = at(shape.name);
        let types = self.types(span);
        let methods = match &self.answer {
            Some(answer) => self.methods(answer),
            None => self.stubs(),
        };
        let items = quote_spanned!(span=> #types #methods);
        let implementation = shape.implement(span, &self.requirements(shape), &items);
        shape.declare(&quote_spanned!(span=> #declarations #implementation))
    }

    /// What the types must be, as far as the functions are right: each state and each type parameter
    /// can be shared, and a session can be sent from thread to thread.
    fn requirements<'s>(&self, shape: &'s Shape<'s>) -> Requirements<'s> {
        let mut requirements = Requirements::new(shape, "State");
        if self.answer.is_some() {
            for state in &self.protocol.states {
                requirements.add(&state.ty, "State", "assert_state");
            }
            if let Some(session) = &self.protocol.session {
                requirements.add(&session.ty, "SendField", "assert_send_field");
            }
        }
        requirements
    }

    fn types(&self, span: Span) -> TokenStream {
        let args = self.args;
        let private = args.library.at(span);
        let framing = framing(args, span);
        let format = or_else(args.format.as_ref(), quote_spanned!(span=> #private::Plain));
        let session = self.protocol.session.as_ref().map_or_else(
            || quote_spanned!(span=> type Session = ();),
            |Session { ty, .. }| quote_spanned!(at(ty)=> type Session = #ty;),
        );
        let messages = &self.messages;
        let half_close = args.given("half_close").map(at);
        let half_close =
            half_close.map(|span| quote_spanned!(span=> const ENDS_AT_HALF_CLOSE: bool = true;));
        quote_spanned! {span=>
            type Framing = #framing;
            type Format = #format;
            #session
            #messages
            #half_close
        }
    }

    fn methods(&self, answer: &TokenStream) -> TokenStream {
        let span = at(&self.protocol.name);
        let waits =
            (!self.protocol.waits).then(|| quote_spanned!(span=> const WAITS: bool = false;));
        let (greeting, reject_with) = (self.greeting(), self.reject_with());
        let open_session = self.open_session(&self.initial_session());
        let process_request = self.process_request(answer);
        quote_spanned!(span=> #open_session #greeting #reject_with #process_request #waits)
    }

    /// The methods of a function that is wrong.
    fn stubs(&self) -> TokenStream {
        let stub = quote_spanned!(at(self.protocol.place)=> ::core::unimplemented!());
        let [open_session, process_request] =
            [self.open_session(&stub), self.process_request(&stub)];
        quote_spanned!(at(&self.protocol.name)=> #open_session #process_request)
    }

    fn process_request(&self, answer: &TokenStream) -> TokenStream {
        let span = at(&self.protocol.name);
        let private = self.args.library.at(span);
        // That the future is not `Send` is reported at the place of its type and of the block.
        let place = at(self.protocol.place);
        let future = quote_spanned! {place=>
            impl ::core::future::Future<
                Output = ::core::result::Result<Self::Reply<'exchange>, #private::Rejection>
            > + ::core::marker::Send
        };
        let body = quote_spanned! {place=>
            let info = context.info;
            let session = context.session;
            async move { #answer }
        };
        quote_spanned! {span=>
            fn process_request<'exchange>(
                &'exchange self,
                context: #private::Context<'exchange, Self::Session>,
                request: Self::Request<'exchange>,
            ) -> #future {
                #body
            }
        }
    }

    fn open_session(&self, body: &TokenStream) -> TokenStream {
        let span = at(&self.protocol.name);
        let private = self.args.library.at(span);
        quote_spanned! {span=>
            fn open_session(&self, peer: &#private::Peer) -> Self::Session {
                #body
            }
        }
    }

    fn initial_session(&self) -> TokenStream {
        let Self { args, protocol, .. } = self;
        let Some(Session { ty, .. }) = &protocol.session else {
            return TokenStream::new();
        };
        if let Some(expression) = &args.session {
            let scope = self.scope();
            return quote_spanned!(at(expression)=> #scope #expression);
        }
        let default = args.library.item("DefaultSession", ty);
        quote_spanned!(at(ty)=> <#ty as #default>::default_session())
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
        let message = encoder(args, greeting);
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
                const { #private::assert_no_mistake(#private::reject_with_mistake::<Self>()) }
                let words: fn(&'exchange #private::Rejection) -> _ = #path;
                ::core::option::Option::Some(#private::encoder(move |out| {
                    #private::Encoded(#encode::<Self::Format>::encode(words(rejection), out))
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

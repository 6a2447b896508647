//! Writes the implementation of `ServerProtocol`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};

use super::{
    call::{Call, state},
    messages::{argument_variables, contract_item, request_variant},
    parts::{encoder, framing, generated, or_else},
    protocol_type::{declare, implement, message_items},
    requirements::{Requirement, Requirements},
};
use crate::{
    aim::at,
    args::Args,
    model::{
        Field,
        handler::Session,
        operations::{Operation, Operations},
        server::{Protocol, ServerFunction},
    },
};

/// Writes the protocol of a function.
pub(super) fn function(server: &ServerFunction<'_>) -> TokenStream {
    let ty = &server.protocol.ty;
    let span = at(&ty.name);
    let private = ty.args.library.at(span);
    let framing = framing(ty.args, span);
    let format = or_else(
        ty.args.format.as_ref(),
        quote_spanned!(span=> #private::Plain),
    );
    let [request_alias, request] = message_items(ty, "Request", &server.request);
    let [reply_alias, reply] = message_items(ty, "Reply", &server.reply);
    let answer = ty.is_valid.then(|| {
        let request = Ident::new("request", at(ty.place));
        let Call { extractions, value } =
            Call::new(&server.protocol, &server.handler, vec![request]);
        quote_spanned! {at(ty.place)=>
            #extractions
            ::core::result::Result::Ok(#value)
        }
    });
    let server = Server {
        args: ty.args,
        protocol: &server.protocol,
        messages: quote_spanned! {span=>
            type Framing = #framing;
            type Format = #format;
            #request
            #reply
        },
        answer,
    };
    server.declare(&quote!(#request_alias #reply_alias))
}

/// Writes the protocol of all operations, whose contract says what the messages are.
pub(super) fn module(operations: &Operations<'_>, protocol: &Protocol<'_>) -> TokenStream {
    let ty = &protocol.ty;
    let span = at(ty.place);
    let answer = ty.is_valid.then(|| {
        let arms = operations
            .list
            .iter()
            .map(|operation| answer(protocol, operation));
        quote_spanned!(span=> match request { #(#arms)* })
    });
    let item = |name: &str| contract_item(ty.args, name);
    let [framing, format, request, reply] = ["Framing", "Format", "Request", "Reply"].map(item);
    let server = Server {
        args: ty.args,
        protocol,
        messages: quote_spanned! {span=>
            type Framing = #framing;
            type Format = #format;
            type Request<'exchange> = #request<'exchange>;
            type Reply<'exchange> = #reply<'exchange>;
        },
        answer,
    };
    let declared = server.declare(&TokenStream::new());
    let private = ty.args.library.at(span);
    quote_spanned!(span=> #private::operations! { #declared })
}

/// Writes the arm that answers the request of an operation.
fn answer(protocol: &Protocol<'_>, operation: &Operation<'_>) -> TokenStream {
    let span = at(&operation.handler.function.sig.ident);
    let [request, reply] = ["Request", "Reply"].map(generated);
    let (message, variant) = (request_variant(operation, span), &operation.variant);
    let arguments = argument_variables(operation, span);
    let Call { extractions, value } = Call::new(protocol, &operation.handler, arguments);
    quote_spanned! {span=>
        #request::#message => {
            #extractions
            ::core::result::Result::Ok(#reply::#variant(#value))
        }
    }
}

/// The implementation for a function or for a module.
struct Server<'a> {
    args: &'a Args,
    protocol: &'a Protocol<'a>,
    /// The associated types of framing, format and messages.
    messages: TokenStream,
    /// Answers a request: an expression with `info`, `session` and `request` in scope, which may contain
    /// `?` and `.await`. There is none if a function is wrong.
    answer: Option<TokenStream>,
}

impl Server<'_> {
    /// Writes the type and its implementation, after the declarations that the messages need.
    fn declare(&self, declarations: &TokenStream) -> TokenStream {
        let ty = &self.protocol.ty;
        let span = at(&ty.name);
        let types = self.types();
        let methods = match &self.answer {
            Some(answer) => self.methods(answer),
            None => self.stubs(),
        };
        let items = quote_spanned!(span=> #types #methods);
        let implementation = implement(ty, span, &self.requirements(), &items);
        declare(ty, &quote_spanned!(span=> #declarations #implementation))
    }

    /// What the types must be, as far as the functions are right: each state and each type parameter
    /// can be shared, and a session can be sent from thread to thread.
    fn requirements(&self) -> Requirements<'_> {
        let protocol = self.protocol;
        let mut requirements = Requirements::new(&protocol.ty, Requirement::State);
        if self.answer.is_some() {
            for state in &protocol.states {
                requirements.add(&state.ty, Requirement::State);
            }
            if let Some(session) = &protocol.session {
                requirements.add(&session.ty, Requirement::SendField);
            }
        }
        requirements
    }

    /// The associated types, and what the options declare.
    fn types(&self) -> TokenStream {
        let ty = &self.protocol.ty;
        let span = at(&ty.name);
        let session = self.protocol.session.as_ref().map_or_else(
            || quote_spanned!(span=> type Session = ();),
            |Session { ty, .. }| quote_spanned!(at(ty)=> type Session = #ty;),
        );
        let messages = &self.messages;
        let half_close = ty.args.given("half_close").map(at);
        let half_close =
            half_close.map(|span| quote_spanned!(span=> const ENDS_AT_HALF_CLOSE: bool = true;));
        quote_spanned! {span=>
            #messages
            #session
            #half_close
        }
    }

    fn methods(&self, answer: &TokenStream) -> TokenStream {
        let span = at(&self.protocol.ty.name);
        let waits =
            (!self.protocol.waits).then(|| quote_spanned!(span=> const WAITS: bool = false;));
        let (greeting, reject_with) = (self.greeting(), self.reject_with());
        let open_session = self.open_session(&self.initial_session());
        let process_request = self.process_request(answer);
        quote_spanned!(span=> #open_session #greeting #reject_with #process_request #waits)
    }

    /// The methods of a function that is wrong.
    fn stubs(&self) -> TokenStream {
        let stub = quote_spanned!(at(self.protocol.ty.place)=> ::core::unimplemented!());
        let [open_session, process_request] =
            [self.open_session(&stub), self.process_request(&stub)];
        quote_spanned!(at(&self.protocol.ty.name)=> #open_session #process_request)
    }

    fn process_request(&self, answer: &TokenStream) -> TokenStream {
        let span = at(&self.protocol.ty.name);
        let private = self.args.library.at(span);
        // That the future is not `Send` is reported at the place of its type and of the block.
        let place = at(self.protocol.ty.place);
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
        let span = at(&self.protocol.ty.name);
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
        let span = at(protocol.ty.place);
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
        let span = at(self.protocol.ty.place);
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

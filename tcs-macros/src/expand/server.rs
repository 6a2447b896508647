//! Writes the implementation of `ServerProtocol`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};

use super::{
    call::{call, state_reference},
    messages::{contract_item, request_variant},
    parts::{encoder, framing, generated, or_else},
    protocol_type::{declare, implement, message_items},
    requirements::{Requirements, SEND_FIELD, STATE},
};
use crate::{
    aim::at,
    model::{
        Field,
        handler::Session,
        operations::{Operation, Operations},
        server::{Protocol, ServerFunction},
    },
};

/// Writes the protocol of a function.
pub(super) fn function(server: &ServerFunction<'_>) -> TokenStream {
    let (args, target) = (server.protocol.target.args, &server.protocol.target);
    let span = at(&target.name);
    let private = args.library.at(span);
    let framing = framing(args, span);
    let format = or_else(args.format.as_ref(), quote_spanned!(span=> #private::Plain));
    let [request_alias, request] = message_items(target, "Request", &server.request);
    let [reply_alias, reply] = message_items(target, "Reply", &server.reply);
    let messages = quote_spanned! {span=>
        type Framing = #framing;
        type Format = #format;
        #request
        #reply
    };
    let answer = target.is_valid.then(|| {
        let [extractions, value] = call(&server.protocol, &server.handler);
        quote_spanned!(at(target.place)=> #extractions ::core::result::Result::Ok(#value))
    });
    let protocol = &server.protocol;
    let implementation = ServerImpl { protocol, answer }.implement(&messages);
    declare(target, &quote!(#request_alias #reply_alias #implementation))
}

/// Writes the protocol of all operations, whose contract says what the messages are.
pub(super) fn module(operations: &Operations<'_>, protocol: &Protocol<'_>) -> TokenStream {
    let (args, target) = (protocol.target.args, &protocol.target);
    let span = at(target.place);
    let item = |name: &str| contract_item(args, name);
    let [framing, format, request, reply] = ["Framing", "Format", "Request", "Reply"].map(item);
    let messages = quote_spanned! {Span::mixed_site()=>
        type Framing = #framing;
        type Format = #format;
        type Request<'exchange> = #request<'exchange>;
        type Reply<'exchange> = #reply<'exchange>;
    };
    let answer = target.is_valid.then(|| {
        let list = operations.list.iter();
        let arms = list.map(|operation| answer_arm(protocol, operation));
        quote_spanned!(span=> match request { #(#arms)* })
    });
    let implementation = ServerImpl { protocol, answer }.implement(&messages);
    let (declared, private) = (declare(target, &implementation), args.library.at(span));
    quote_spanned!(span=> #private::operations! { #declared })
}

/// Writes the arm that answers the request of an operation.
fn answer_arm(protocol: &Protocol<'_>, operation: &Operation<'_>) -> TokenStream {
    let [request, reply] = ["Request", "Reply"].map(generated);
    let (message, variant) = (request_variant(operation), &operation.variant);
    let [extractions, value] = call(protocol, &operation.handler);
    quote_spanned! {at(&operation.handler.function.sig.ident)=>
        #request::#message => {
            #extractions
            ::core::result::Result::Ok(#reply::#variant(#value))
        }
    }
}

/// The implementation, for a function or for a module.
struct ServerImpl<'a> {
    protocol: &'a Protocol<'a>,
    /// Answers a request: an expression with `info`, `session` and `request` in scope, which may contain
    /// `?` and `.await`. There is none if a function is wrong.
    answer: Option<TokenStream>,
}

impl ServerImpl<'_> {
    /// Writes the implementation, with the associated types of framing, format and messages.
    fn implement(&self, messages: &TokenStream) -> TokenStream {
        let span = at(&self.protocol.target.name);
        let session = self.protocol.session.as_ref();
        let session =
            session.map(|Session { ty, .. }| quote_spanned!(at(ty)=> type Session = #ty;));
        let session = session.unwrap_or_else(|| quote_spanned!(span=> type Session = ();));
        let methods = self.answer.as_ref().map(|answer| self.methods(answer));
        let methods = methods.unwrap_or_else(|| self.stubs());
        let items = quote_spanned!(span=> #messages #session #methods);
        implement(&self.protocol.target, span, &self.requirements(), &items)
    }

    /// What the types must be, as far as the functions are right: each state and each type parameter
    /// can be shared, and a session can be sent from thread to thread.
    fn requirements(&self) -> Requirements<'_> {
        let protocol = self.protocol;
        let mut requirements = Requirements::new(&protocol.target, STATE);
        if self.answer.is_some() {
            for state in &protocol.states {
                requirements.add(&state.ty, STATE);
            }
            if let Some(session) = &protocol.session {
                requirements.add(&session.ty, SEND_FIELD);
            }
        }
        requirements
    }

    fn methods(&self, answer: &TokenStream) -> TokenStream {
        let span = at(&self.protocol.target.name);
        let waits =
            (!self.protocol.waits).then(|| quote_spanned!(span=> const WAITS: bool = false;));
        let half_close = self.protocol.target.args.given("half_close").map(at);
        let half_close =
            half_close.map(|span| quote_spanned!(span=> const ENDS_AT_HALF_CLOSE: bool = true;));
        let (greeting, reject_with) = (self.greeting(), self.reject_with());
        let open_session = self.open_session(&self.initial_session());
        let process_request = self.process_request(answer);
        quote_spanned! {span=>
            #half_close
            #waits
            #open_session
            #greeting
            #reject_with
            #process_request
        }
    }

    /// The methods of a function that is wrong.
    fn stubs(&self) -> TokenStream {
        let stub = quote_spanned!(at(self.protocol.target.place)=> ::core::unimplemented!());
        let methods = [self.open_session(&stub), self.process_request(&stub)];
        methods.into_iter().collect()
    }

    fn process_request(&self, answer: &TokenStream) -> TokenStream {
        let span = at(&self.protocol.target.name);
        let private = self.protocol.target.args.library.at(span);
        // That the future is not `Send` is reported at the place of its type and of the block.
        let future = quote_spanned! {at(self.protocol.target.place)=>
            impl ::core::future::Future<
                Output = ::core::result::Result<Self::Reply<'exchange>, #private::Rejection>
            > + ::core::marker::Send
        };
        let body = quote_spanned!(at(self.protocol.target.place)=> async move { #answer });
        quote_spanned! {span=>
            fn process_request<'exchange>(
                &'exchange self,
                context: #private::Context<'exchange, Self::Session>,
                request: Self::Request<'exchange>,
            ) -> #future {
                let #private::Context { info, session, .. } = context;
                #body
            }
        }
    }

    fn open_session(&self, body: &TokenStream) -> TokenStream {
        let span = at(&self.protocol.target.name);
        let private = self.protocol.target.args.library.at(span);
        quote_spanned! {span=>
            fn open_session(&self, peer: &#private::Peer) -> Self::Session {
                #body
            }
        }
    }

    fn initial_session(&self) -> TokenStream {
        let (protocol, args) = (self.protocol, self.protocol.target.args);
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
        let (protocol, args) = (self.protocol, self.protocol.target.args);
        let greeting = args.greeting.as_ref()?;
        let span = at(protocol.target.place);
        let private = args.library.at(span);
        let scope = self.scope();
        let session = protocol.session.as_ref();
        let session = session.and_then(|session| session.name.as_ref());
        let session = session.map(|name| quote_spanned!(span=> let #name = session;));
        let message = encoder(args, greeting);
        Some(quote_spanned! {span=>
            const HAS_GREETING: bool = true;

            fn greeting<'exchange>(
                &'exchange self,
                peer: &'exchange #private::Peer,
                session: &'exchange mut Self::Session,
            ) -> ::core::option::Option<impl #private::Encode<Self::Format>> {
                #scope
                #session
                ::core::option::Option::Some(#message)
            }
        })
    }

    fn reject_with(&self) -> Option<TokenStream> {
        let path = self.protocol.target.args.reject_with.as_ref()?;
        let span = at(path);
        let private = self.protocol.target.args.library.at(span);
        let encode = self.protocol.target.args.library.item("Encode", path);
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
        let span = at(self.protocol.target.place);
        let peer = Ident::new("peer", Span::call_site());
        let states = self.protocol.states.iter().map(|known| {
            let (Field { name, ty }, value) = (known, state_reference(known, span));
            quote_spanned!(span=> let #name: &(#ty) = #value;)
        });
        quote_spanned! {span=>
            let #peer = peer;
            #(#states)*
        }
    }
}

//! Writes the implementation of `ServerProtocol`.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};

use super::{
    call::{Call, call, state_reference},
    messages::{contract_item, request_variant},
    parts::{encoder, framing, generated, or_else},
    protocol_type::{MessageItem, declare, implement},
    requirements::{Requirements, SEND_FIELD, STATE},
};
use crate::{
    aim::at,
    args::OptionName,
    model::{
        Field,
        handler::Session,
        operations::{Operation, Operations},
        server::{ServerFunction, ServerParts},
    },
};

/// Writes the protocol of a function.
pub(super) fn function(server: &ServerFunction<'_>) -> TokenStream {
    let (parts, ty) = (&server.parts, &server.parts.ty);
    let (args, span) = (ty.args, at(&ty.name));
    let private = ty.private(span);
    let framing = framing(args, span);
    let format = or_else(args.format.as_ref(), quote_spanned!(span=> #private::Plain));
    let request = MessageItem::new(ty, "Request", &server.request);
    let reply = MessageItem::new(ty, "Reply", &server.reply);
    let (request_item, reply_item) = (request.item, reply.item);
    let messages = quote_spanned! {span=>
        type Framing = #framing;
        type Format = #format;
        #request_item
        #reply_item
    };
    let implementation = implementation(parts, &messages, || {
        let Call { extractions, value } = call(parts, &server.handler);
        quote_spanned!(at(ty.place)=> #extractions ::core::result::Result::Ok(#value))
    });
    let aliases = [request.declaration, reply.declaration]
        .into_iter()
        .flatten();
    declare(ty, &quote!(#(#aliases)* #implementation))
}

/// Writes the protocol of all operations, whose contract says what the messages are.
pub(super) fn module(operations: &Operations<'_>, parts: &ServerParts<'_>) -> TokenStream {
    let (ty, span) = (&parts.ty, at(parts.ty.place));
    let item = |name: &str| contract_item(ty.args, name);
    let [framing, format, request, reply] = ["Framing", "Format", "Request", "Reply"].map(item);
    let messages = quote_spanned! {Span::mixed_site()=>
        type Framing = #framing;
        type Format = #format;
        type Request<'exchange> = #request<'exchange>;
        type Reply<'exchange> = #reply<'exchange>;
    };
    let implementation = implementation(parts, &messages, || {
        let list = operations.list.iter();
        let arms = list.map(|operation| answer_arm(parts, operation));
        quote_spanned!(span=> match request { #(#arms)* })
    });
    let (declared, private) = (declare(ty, &implementation), ty.private(span));
    quote_spanned!(span=> #private::operations! { #declared })
}

/// Writes the arm that answers the request of an operation.
fn answer_arm(parts: &ServerParts<'_>, operation: &Operation<'_>) -> TokenStream {
    let [request, reply] = ["Request", "Reply"].map(generated);
    let (message, variant) = (request_variant(operation), &operation.variant);
    let Call { extractions, value } = call(parts, &operation.handler);
    quote_spanned! {at(&operation.handler.function.sig.ident)=>
        #request::#message => {
            #extractions
            ::core::result::Result::Ok(#reply::#variant(#value))
        }
    }
}

/// Writes the implementation, with the associated types of framing, format and messages.
///
/// `answer` writes what answers a request: an expression with `info`, `session` and `request` in
/// scope, which may contain `?` and `.await`. If a function is wrong, there are stubs instead.
fn implementation(
    parts: &ServerParts<'_>,
    messages: &TokenStream,
    answer: impl FnOnce() -> TokenStream,
) -> TokenStream {
    // For `fn find(name: &str, #[state] db: &Db) -> String`:
    //
    //     impl ServerProtocol for Find where for<'tcs> Db: State {
    //         type Framing = LengthPrefixed;
    //         type Format = Plain;
    //         type Request<'exchange> = &'exchange str;
    //         type Reply<'exchange> = __Reply<>;
    //         type Session = ();
    //         fn open_session(&self, peer: &Peer) -> Self::Session {}
    //         fn process_request<'exchange>(…) -> impl Future<…> + Send {
    //             let Context { info, session, .. } = context;
    //             async move { Ok(find(request, &self.db)) }
    //         }
    //     }
    let ty = &parts.ty;
    let span = at(&ty.name);
    let session = parts.session.as_ref().map_or_else(
        || quote_spanned!(span=> type Session = ();),
        |Session { ty, .. }| quote_spanned!(at(ty)=> type Session = #ty;),
    );
    let methods = if ty.is_valid {
        methods(parts, &answer())
    } else {
        stubs(parts)
    };
    let items = quote_spanned!(span=> #messages #session #methods);
    implement(ty, span, &requirements(parts), &items)
}

/// What the types must be, as far as the functions are right: each state and each type parameter
/// can be shared, and a session can be sent from thread to thread.
fn requirements<'a>(parts: &'a ServerParts<'_>) -> Requirements<'a> {
    let mut requirements = Requirements::new(&parts.ty, STATE);
    if parts.ty.is_valid {
        for state in &parts.states {
            requirements.add(&state.ty, STATE);
        }
        if let Some(session) = &parts.session {
            requirements.add(&session.ty, SEND_FIELD);
        }
    }
    requirements
}

fn methods(parts: &ServerParts<'_>, answer: &TokenStream) -> TokenStream {
    let ServerParts { ty, waits, .. } = parts;
    let span = at(&ty.name);
    let waits = (!waits).then(|| quote_spanned!(span=> const WAITS: bool = false;));
    let half_close = ty
        .args
        .given(OptionName::HalfClose)
        .map(|option| quote_spanned!(at(option)=> const ENDS_AT_HALF_CLOSE: bool = true;));
    let (greeting, reject_with) = (greeting(parts), reject_with(parts));
    let open_session = open_session(parts, &initial_session(parts));
    let process_request = process_request(parts, answer);
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
fn stubs(parts: &ServerParts<'_>) -> TokenStream {
    let stub = quote_spanned!(at(parts.ty.place)=> ::core::unimplemented!());
    let methods = [open_session(parts, &stub), process_request(parts, &stub)];
    methods.into_iter().collect()
}

fn process_request(parts: &ServerParts<'_>, answer: &TokenStream) -> TokenStream {
    let ty = &parts.ty;
    let span = at(&ty.name);
    let private = ty.private(span);
    // That the future is not `Send` is reported at the place of its type and of the block.
    let future = quote_spanned! {at(ty.place)=>
        impl ::core::future::Future<
            Output = ::core::result::Result<Self::Reply<'exchange>, #private::Rejection>
        > + ::core::marker::Send
    };
    let body = quote_spanned!(at(ty.place)=> async move { #answer });
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

fn open_session(parts: &ServerParts<'_>, body: &TokenStream) -> TokenStream {
    let span = at(&parts.ty.name);
    let private = parts.ty.private(span);
    quote_spanned! {span=>
        fn open_session(&self, peer: &#private::Peer) -> Self::Session {
            #body
        }
    }
}

fn initial_session(parts: &ServerParts<'_>) -> TokenStream {
    let args = parts.ty.args;
    let Some(Session { ty, .. }) = &parts.session else {
        return TokenStream::new();
    };
    if let Some(expression) = &args.session {
        let scope = scope(parts);
        return quote_spanned!(at(expression)=> #scope #expression);
    }
    let default = args.library.item("DefaultSession", ty);
    quote_spanned!(at(ty)=> <#ty as #default>::default_session())
}

fn greeting(parts: &ServerParts<'_>) -> Option<TokenStream> {
    let ServerParts { ty, session, .. } = parts;
    let greeting = ty.args.greeting.as_ref()?;
    let span = at(ty.place);
    let private = ty.private(span);
    let scope = scope(parts);
    let name = session.as_ref().and_then(|session| session.name.as_ref());
    let session_variable = name.map(|name| quote_spanned!(span=> let #name = session;));
    let message = encoder(ty.args, greeting);
    Some(quote_spanned! {span=>
        const HAS_GREETING: bool = true;

        fn greeting<'exchange>(
            &'exchange self,
            peer: &'exchange #private::Peer,
            session: &'exchange mut Self::Session,
        ) -> ::core::option::Option<impl #private::Encode<Self::Format>> {
            #scope
            #session_variable
            ::core::option::Option::Some(#message)
        }
    })
}

fn reject_with(parts: &ServerParts<'_>) -> Option<TokenStream> {
    let ty = &parts.ty;
    let path = ty.args.reject_with.as_ref()?;
    let span = at(path);
    let (private, encode) = (ty.private(span), ty.args.library.item("Encode", path));
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
fn scope(parts: &ServerParts<'_>) -> TokenStream {
    let span = at(parts.ty.place);
    let peer = generated("peer");
    let states = parts.states.iter().map(|state| {
        let value = state_reference(state, span);
        let Field { name, ty } = state;
        quote_spanned!(span=> let #name: &(#ty) = #value;)
    });
    quote_spanned! {span=>
        let #peer = peer;
        #(#states)*
    }
}

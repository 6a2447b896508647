//! Writes the implementation of `ServerProtocol`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::{Expr, Type};

use super::{
    call::{call, state_reference},
    encoder::encoder,
    family,
    messages::contract_item,
    names::{public_name, request_variant},
    options::{checks_in_use, format, framing, is_event, upload_of},
    protocol_type::{declare, message_item, or_unknown},
    trait_impl::{Requirement, TraitImpl},
};
use crate::{
    model::{
        Model,
        concurrency::Concurrency,
        field::Field,
        generics::{param_idents, predicates},
        handler::Session,
        operations::{Argument, Operation, Operations},
        server::{ServerFunction, ServerImpl},
    },
    options::OptionName,
    spans::{alias, end_of, start_of},
    syntax::{
        bare,
        lifetimes::{self, STATIC},
        mentions_one_of, mentions_word,
    },
};

/// Writes the protocol of a function.
pub(super) fn expand_function(model: &Model<'_>, function: &ServerFunction<'_>) -> TokenStream {
    let expansion = ServerExpansion::new(model, &function.server);
    let (options, ty, span) = (model.options, &function.server.ty, expansion.span);
    let (framing, format) = (framing(options, span), format(options, span));
    let message = |name, message: &Option<Type>| {
        let message = or_unknown(message.as_ref(), &options.library, ty.item_name);
        message_item(ty, name, &message)
    };
    let (request_alias, request) = message("Request", &function.request);
    let (reply_alias, reply) = message("Reply", &function.reply);
    let messages = quote_spanned! {span=>
        type Framing = #framing;
        type Format = #format;
        #request
        #reply
    };
    let answer = model.is_valid.then(|| {
        let (extractions, value) = call(&options.library, expansion.server, &function.handler);
        let span = start_of(ty.item_name);
        if function.streams() {
            let private = options.library.private(span);
            // A reply that is no iterator is not held while this waits: it need not be `Send`.
            return quote_spanned! {span=>
                #extractions
                #[allow(unused_imports, reason = "an iterator has a method of its own")]
                use #private::AnyAnswer as _;
                let sending = match #private::Answer(#value).send(info) {
                    ::core::ops::ControlFlow::Break(reply) => {
                        return ::core::result::Result::Ok(reply);
                    }
                    ::core::ops::ControlFlow::Continue(sending) => sending,
                };
                sending.await
            };
        }
        quote_spanned!(span=> #extractions ::core::result::Result::Ok(#value))
    });
    let implementation = expansion.implementation(&messages, answer);
    let (_, type_generics, _) = ty.generics.split_for_impl();
    let (name, library) = (&ty.name, &options.library);
    let applied = quote_spanned!(span=> #name #type_generics);
    let families = function.families.iter().map(|family| {
        family::implement(
            family,
            library,
            ty.item_name,
            &applied,
            &ty.generics,
            &format,
        )
    });
    declare(
        ty,
        &quote!(#request_alias #reply_alias #implementation #(#families)*),
    )
}

/// Writes the protocol of all operations, whose contract says what the messages are.
pub(super) fn expand_module(
    model: &Model<'_>,
    operations: &Operations<'_>,
    server: &ServerImpl<'_>,
) -> TokenStream {
    let expansion = ServerExpansion::new(model, server);
    let (private, span) = (&expansion.private, expansion.span);
    let item = |name: &str| contract_item(model.options, name);
    let [framing, format, request, reply] = ["Framing", "Format", "Request", "Reply"].map(item);
    let choice = public_name("Request");
    let variants = operations.list.iter().map(|operation| &operation.variant);
    let names = operations.list.iter().map(|operation| &operation.name);
    let indices = 0..operations.list.len();
    let messages = quote_spanned! {Span::mixed_site()=>
        type Framing = #framing;
        type Format = #format;
        type Request<'exchange> = #request<'exchange>;
        type Reply<'exchange> = #reply<'exchange>;

        const OPERATIONS: &'static [&'static str] = &[#(#names),*];

        #[allow(unreachable_code, reason = "there may be no operation, if there is an error")]
        fn operation(request: &Self::Request<'_>) -> usize {
            match *request { #(#choice::#variants { .. } => #indices),* }
        }
    };
    let answer = model.is_valid.then(|| {
        let operations = operations.list.iter();
        let arms = operations.map(|operation| expansion.answer_arm(operation));
        quote_spanned!(span=> match request { #(#arms)* })
    });
    let implementation = expansion.implementation(&messages, answer);
    let pushes = operations
        .pushes
        .as_ref()
        .map(|_| expansion.forwarded_pushes());
    let extractors = model
        .is_valid
        .then(|| expansion.extractor_checks(operations));
    let declared = declare(&server.ty, &quote!(#implementation #pushes #extractors));
    quote_spanned!(span=> #private::operations! { #declared })
}

/// Writes the parts of one implementation.
struct ServerExpansion<'a> {
    model: &'a Model<'a>,
    server: &'a ServerImpl<'a>,
    /// The name of the type.
    span: Span,
    /// The module of the library that expansions use, at `span`.
    private: TokenStream,
}

impl<'a> ServerExpansion<'a> {
    fn new(model: &'a Model<'a>, server: &'a ServerImpl<'a>) -> Self {
        let span = start_of(&server.ty.name);
        Self {
            model,
            server,
            span,
            private: model.options.library.private(span),
        }
    }

    /// Writes the arm that answers the request of an operation.
    fn answer_arm(&self, operation: &Operation<'_>) -> TokenStream {
        let [request, reply] = ["Request", "Reply"].map(public_name);
        let (message, variant) = (request_variant(operation), &operation.variant);
        let (extractions, value) =
            call(&self.model.options.library, self.server, &operation.handler);
        quote_spanned! {start_of(&operation.handler.function.sig.ident)=>
            #request::#message => {
                #extractions
                ::core::result::Result::Ok(#reply::#variant(#value))
            }
        }
    }

    /// Writes the checks that no argument has a type that is made of the connection: any client could send one.
    ///
    /// A constant cannot name the parameters of the protocol, so there are none for a generic one.
    fn extractor_checks(&self, operations: &Operations<'_>) -> TokenStream {
        let mut checks = TokenStream::new();
        if !param_idents(&self.server.ty.generics).is_empty() {
            return checks;
        }
        let protocol = &self.server.ty.name;
        for operation in &operations.list {
            for Argument { name, ty, .. } in &operation.arguments {
                // An address is as often data as it is the peer's.
                if matches!(bare(ty), Type::Reference(_)) || mentions_word(ty, "SocketAddr") {
                    continue;
                }
                let ident = &operation.handler.function.sig.ident;
                let ty = lifetimes::unify(ty, STATIC);
                let (span, private) = (
                    start_of(&ty),
                    self.model.options.library.private(start_of(&ty)),
                );
                let (declaration, path) = alias(ident, "__Argument", &ty);
                let text = format!(
                    "the type of `{name}` is made of the connection, and a client would send it: write `#[context]` before `{name}`"
                );
                checks.extend(quote_spanned! {span=>
                    const _: () = {
                        #[allow(unused_imports, reason = "it is for other types")]
                        use #private::NoExtractor as _;
                        #declaration
                        if #private::ExtractorCheck::<#path, #protocol>::IS_EXTRACTOR {
                            ::core::panic!(#text)
                        }
                    };
                });
            }
        }
        checks
    }

    /// Implements `Pushes` for the protocol of a module, as it is for its contract.
    fn forwarded_pushes(&self) -> TokenStream {
        let (ty, private, span) = (&self.server.ty, &self.private, self.span);
        let (name, contract) = (&ty.name, public_name("Contract"));
        let (impl_generics, type_generics, _) = ty.generics.split_for_impl();
        let predicates = predicates(&ty.generics);
        let contract = quote_spanned!(span=> <#contract as #private::Pushes>);
        quote_spanned! {span=>
            #[automatically_derived]
            impl #impl_generics #private::Pushes for #name #type_generics
            where
                #(#predicates,)*
            {
                type Format = #contract::Format;
                type Event<'item> = #contract::Event<'item>;

                const HAS_IS_PUSH: bool = #contract::HAS_IS_PUSH;

                fn is_push(message: &[u8]) -> bool {
                    #contract::is_push(message)
                }
            }
        }
    }

    /// Writes the implementation, with the associated types of framing, format and messages.
    ///
    /// `answer` is what answers a request: an expression with `info`, `session` and `request` in scope, which may
    /// contain `?` and `.await`. If there is an error, it is `None`, and there are stubs instead.
    fn implementation(&self, messages: &TokenStream, answer: Option<TokenStream>) -> TokenStream {
        // For `fn find(name: &str, #[state] db: &Db) -> String`:
        //
        //     impl ServerProtocol for Find where for<'tcs> Db: State {
        //         type Framing = LengthPrefixed;
        //         type Format = Plain;
        //         type Request<'exchange> = &'exchange str;
        //         type Reply<'exchange> = __Reply<>;
        //         type Session = ();
        //         fn open_session(&self, info: &ConnectionInfo) -> Self::Session {}
        //         fn process_request<'exchange>(…) -> impl Future<…> + Send {
        //             let Context { info, session, .. } = context;
        //             async move { Ok(find(request, &self.db)) }
        //         }
        //     }
        let span = self.span;
        let mut implementation = TraitImpl::new(self.model, &self.server.ty, Requirement::STATE);
        let session = if let Some(Session { ty, .. }) = &self.server.session {
            let at_type = start_of(ty);
            if self.server.concurrency.is_some() {
                implementation.require(ty, Requirement::SHARED_SESSION);
                quote_spanned! {at_type=>
                    type Session = ::std::sync::Arc<#ty>;

                    fn share_session(session: &Self::Session) -> ::core::option::Option<Self::Session> {
                        ::core::option::Option::Some(::std::sync::Arc::clone(session))
                    }
                }
            } else {
                implementation.require(ty, Requirement::SEND_FIELD);
                quote_spanned!(at_type=> type Session = #ty;)
            }
        } else {
            quote_spanned!(span=> type Session = ();)
        };
        let methods = answer.map_or_else(|| self.stubs(), |answer| self.methods(&answer));
        let items = quote_spanned!(span=> #messages #session #methods);
        implementation.write(span, &items)
    }

    fn stubs(&self) -> TokenStream {
        let stub = quote_spanned!(start_of(self.server.ty.item_name)=> ::core::unimplemented!());
        let open_session = self.open_session(Some(&stub));
        let process_request = self.process_request(None, &stub);
        quote!(#open_session #process_request)
    }

    fn methods(&self, answer: &TokenStream) -> TokenStream {
        let span = self.span;
        let half_close = self.model.options.given(OptionName::HalfClose);
        let ends =
            half_close.map(|_| quote_spanned!(span=> const ENDS_AT_HALF_CLOSE: bool = true;));
        let waits = (!self.server.waits).then(|| quote_spanned!(span=> const WAITS: bool = false;));
        let is_event = is_event(self.model.options, &quote_spanned!(span=> Self), span);
        let concurrency = self.concurrency();
        let private = &self.private;
        let framing = self.server.changed_framing.as_ref().map(|ty| {
            // That it can be copied is checked at its type.
            let clone = quote_spanned!(start_of(ty)=> ::core::clone::Clone::clone);
            quote_spanned! {span=>
                const CLONE_FRAMING: ::core::option::Option<#private::CloneFraming<Self::Framing>> =
                    ::core::option::Option::Some(#clone);
            }
        });
        let framing_value = self.framing_value();
        let (greeting, reject_with) = (self.greeting(), self.reject_with());
        let open_session = self.open_session(self.initial_session().as_ref());
        let checks = checks_in_use(self.model.options, &self.server.ty, upload_of(self.model));
        let process_request = self.process_request(Some(&checks), answer);
        quote_spanned! {span=>
            #ends
            #waits
            #is_event
            #framing
            #framing_value
            #concurrency
            #open_session
            #greeting
            #reject_with
            #process_request
        }
    }

    fn concurrency(&self) -> Option<TokenStream> {
        let Some(Concurrency { limit, is_ordered }) = &self.server.concurrency else {
            // The default of a framing with ids would run them side by side.
            let is_alone = self.server.session.is_some()
                || self.server.changed_framing.is_some()
                || self.server.takes_chunks;
            let (span, option) = (self.span, quote!(::core::option::Option));
            let private = &self.private;
            return is_alone.then(|| {
                quote_spanned! {span=>
                    const CONCURRENT: #option<#private::Concurrency> = #option::None;
                }
            });
        };
        let span = start_of(limit);
        let concurrency = self.model.options.library.item("Concurrency", limit);
        let order = if *is_ordered { "ordered" } else { "unordered" };
        let order = Ident::new(order, span);
        Some(quote_spanned! {span=>
            const CONCURRENT: ::core::option::Option<#concurrency> =
                ::core::option::Option::Some(#concurrency::#order(#limit));
        })
    }

    fn process_request(&self, checks: Option<&TokenStream>, answer: &TokenStream) -> TokenStream {
        let (private, at_item) = (&self.private, start_of(self.server.ty.item_name));
        // That the future is not `Send` is reported where its type and the block are.
        let future = quote_spanned! {at_item=>
            impl ::core::future::Future<
                Output = ::core::result::Result<Self::Reply<'exchange>, #private::Rejection>
            > + ::core::marker::Send
        };
        let body = quote_spanned!(at_item=> async move { #answer });
        quote_spanned! {self.span=>
            fn process_request<'exchange>(
                &'exchange self,
                context: #private::Context<'exchange, Self::Session>,
                request: Self::Request<'exchange>,
            ) -> #future {
                #checks
                let #private::Context { info, session, .. } = context;
                #body
            }
        }
    }

    fn open_session(&self, body: Option<&TokenStream>) -> TokenStream {
        let private = &self.private;
        quote_spanned! {self.span=>
            fn open_session(&self, info: &#private::ConnectionInfo) -> Self::Session {
                #body
            }
        }
    }

    fn initial_session(&self) -> Option<TokenStream> {
        let Session { ty, .. } = self.server.session.as_ref()?;
        let is_shared = self.server.concurrency.is_some();
        let share = |span| is_shared.then(|| quote_spanned!(span=> ::std::sync::Arc::new));
        if let Some(expression) = &self.model.options.session {
            let span = start_of(self.server.ty.item_name);
            let scope = self.scope(&quote_spanned!(span=> info.peer()));
            let push = self.push(expression);
            let session = match share(start_of(expression)) {
                Some(share) => quote_spanned!(start_of(expression)=> #share(#expression)),
                None => expression.to_token_stream(),
            };
            return Some(quote_spanned!(start_of(expression)=> #scope #push #session));
        }
        let (default, span) = (
            self.model.options.library.item("DefaultSession", ty),
            start_of(ty),
        );
        let session = quote_spanned!(span=> <#ty as #default>::default_session());
        Some(match share(span) {
            Some(share) => quote_spanned!(span=> #share(#session)),
            None => session,
        })
    }

    /// Writes what makes the framing of a new connection. The expression sees the states.
    fn framing_value(&self) -> Option<TokenStream> {
        let value = self.model.options.framing_value.as_ref()?;
        let states = self.states();
        Some(quote_spanned! {start_of(value)=>
            fn framing(&self) -> Self::Framing {
                #(#states)*
                #value
            }
        })
    }

    fn greeting(&self) -> Option<TokenStream> {
        let greeting = self.model.options.greeting.as_ref()?;
        let span = start_of(self.server.ty.item_name);
        let private = self.model.options.library.private(span);
        let scope = self.scope(&quote_spanned!(span=> peer));
        let session_name = self.server.session.iter().flat_map(|session| &session.name);
        let reborrow = self.server.concurrency.is_some();
        let reborrow = reborrow.then(|| quote_spanned!(span=> &**));
        let reply = self.model.options.library.item("Reply", greeting);
        // An error about the greeting is at all of it.
        let get = quote_spanned!(end_of(greeting)=> .get());
        let value = quote_spanned!(start_of(greeting)=> #reply(#greeting) #get);
        let message = encoder(&self.model.options.library, greeting, &value);
        Some(quote_spanned! {span=>
            const HAS_GREETING: bool = true;

            fn greeting<'exchange>(
                &'exchange self,
                peer: &'exchange #private::Peer,
                session: &'exchange mut Self::Session,
            ) -> ::core::option::Option<impl #private::Encode<Self::Format>> {
                use #private::AnyReply as _;
                #scope
                #(let #session_name = #reborrow session;)*
                ::core::option::Option::Some(#message)
            }
        })
    }

    fn reject_with(&self) -> Option<TokenStream> {
        let path = self.model.options.reject_with.as_ref()?;
        let span = start_of(path);
        let private = self.model.options.library.private(span);
        let words = quote_spanned!(span=> #private::in_words(#path, rejection));
        let message = encoder(&self.model.options.library, path, &words);
        Some(quote_spanned! {span=>
            fn reject_with<'exchange>(
                &'exchange self,
                rejection: &'exchange #private::Rejection,
            ) -> ::core::option::Option<impl #private::Encode<Self::Format>> {
                ::core::option::Option::Some(#message)
            }
        })
    }

    /// Brings the handle for events into the scope of the expression of a session that names it. In all others, it
    /// would only take memory for each connection.
    fn push(&self, expression: &Expr) -> Option<TokenStream> {
        self.model.options.given(OptionName::Push)?;
        let push = public_name("push");
        let is_named = mentions_one_of(expression, std::slice::from_ref(&push));
        let (span, private) = (start_of(self.server.ty.item_name), &self.private);
        is_named.then(
            || quote_spanned!(span=> let #push = #private::ConnectionInfo::push::<Self>(info);),
        )
    }

    /// Brings the peer, which is the value of an expression, and the states into the scope of an expression of the
    /// user's.
    fn scope(&self, value: &TokenStream) -> TokenStream {
        let span = start_of(self.server.ty.item_name);
        let peer = public_name("peer");
        let states = self.states();
        quote_spanned! {span=>
            let #peer = #value;
            #(#states)*
        }
    }

    /// Brings the states into the scope of an expression of the user's.
    fn states(&self) -> impl Iterator<Item = TokenStream> {
        let span = start_of(self.server.ty.item_name);
        self.server.ty.fields.iter().map(move |state| {
            let value = state_reference(state, span);
            let Field { name, ty } = state;
            quote_spanned!(span=> let #name: &(#ty) = #value;)
        })
    }
}

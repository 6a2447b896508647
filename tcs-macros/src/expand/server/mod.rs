//! Writes the implementation of `ServerProtocol`.

mod expressions;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::Type;

use super::{
    call::call,
    checks::extractor_checks,
    message_stream,
    messages::{contract_item, is_push_of_module},
    names::{public_name, request_variant},
    options::{format, framing, is_event},
    protocol_type::{declare, message_item, or_unknown},
    trait_impl::{Requirement, TraitImpl},
};
use crate::{
    model::{
        Model, ModelItem,
        handler::Session,
        message::MessageStream,
        operations::{Operation, Operations},
        server::{Concurrency, ServerFunction, ServerImpl},
    },
    options::OptionName,
    spans::{LibraryPath, place_of, start_of},
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
        let span = place_of(ty.item_name);
        if function.sends_items {
            let private = options.library.module(span);
            // This future does not hold a reply that is no iterator while it waits, so such a reply need not be `Send`.
            return quote_spanned! {span=>
                #(#extractions)*
                #[allow(unused_imports, reason = "an iterator has a method of its own")]
                use #private::AnswerFallback as _;
                let sending = match #private::Answer(#value).send(info) {
                    ::core::ops::ControlFlow::Break(reply) => {
                        return ::core::result::Result::Ok(reply);
                    }
                    ::core::ops::ControlFlow::Continue(sending) => sending,
                };
                sending.await
            };
        }
        quote_spanned!(span=> #(#extractions)* ::core::result::Result::Ok(#value))
    });
    let implementation = expansion.implementation(&messages, answer);
    let (_, type_generics, _) = ty.generics.split_for_impl();
    let (name, library) = (&ty.name, &options.library);
    let applied = quote_spanned!(span=> #name #type_generics);
    let streams = function.streams.iter().map(|stream| {
        message_stream::implement(
            stream,
            options.is_push.as_ref(),
            library,
            ty.item_name,
            &applied,
            &ty.generics,
            &format,
        )
    });
    declare(
        ty,
        &quote!(#request_alias #reply_alias #implementation #(#streams)*),
    )
}

/// Writes the protocol of all operations, whose contract names the types of the messages.
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
    let library = &model.options.library;
    // The protocol has the events of the contract.
    let pushes = operations.pushes.as_ref().map(|pushes| {
        let (name, contract) = (&server.ty.name, public_name("Contract"));
        let (_, type_generics, _) = server.ty.generics.split_for_impl();
        let contract = quote_spanned!(span=> <#contract as #private::Pushes>);
        let event = Type::Verbatim(quote_spanned!(span=> #contract::Event<'item>));
        message_stream::implement(
            &MessageStream {
                kind: pushes.kind,
                message: Some(event),
            },
            is_push_of_module(model.options).as_ref(),
            library,
            server.ty.item_name,
            &quote_spanned!(span=> #name #type_generics),
            &server.ty.generics,
            &quote_spanned!(span=> #contract::Format),
        )
    });
    let extractors = model
        .is_valid
        .then(|| extractor_checks(library, &server.ty, operations));
    let declared = declare(&server.ty, &quote!(#implementation #pushes #extractors));
    quote_spanned!(span=> #private::operations! { #declared })
}

/// Writes the parts of one implementation.
struct ServerExpansion<'a> {
    model: &'a Model<'a>,
    server: &'a ServerImpl<'a>,
    /// The place of the type's name.
    span: Span,
    /// The module of the library that expansions use, at `span`.
    private: LibraryPath<'a>,
}

impl<'a> ServerExpansion<'a> {
    fn new(model: &'a Model<'a>, server: &'a ServerImpl<'a>) -> Self {
        let span = place_of(&server.ty.name);
        Self {
            model,
            server,
            span,
            private: model.options.library.module(span),
        }
    }

    /// Writes the arm that answers the request of an operation.
    fn answer_arm(&self, operation: &Operation<'_>) -> TokenStream {
        let [request, reply] = ["Request", "Reply"].map(public_name);
        let (message, variant) = (request_variant(operation), &operation.variant);
        let (extractions, value) =
            call(&self.model.options.library, self.server, &operation.handler);
        quote_spanned! {place_of(&operation.handler.function.sig.ident)=>
            #request::#message => {
                #(#extractions)*
                ::core::result::Result::Ok(#reply::#variant(#value))
            }
        }
    }

    /// Writes the implementation, with the associated types of framing, format and messages.
    ///
    /// `answer` is the expression that answers a request, with `info`, `session` and `request` in scope, and may
    /// contain `?` and `.await`. If there is an error, `answer` is `None`, and the methods are stubs.
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
        //         fn process_request<'exchange>(…) -> impl Future<…> {
        //             let Context { info, session, .. } = context;
        //             at_once(move || Ok(find(request, &self.db)))
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
        implementation.write(span, |checks| {
            let methods = match answer {
                Some(answer) => self.methods(checks, &answer),
                None => self.stubs(),
            };
            quote_spanned!(span=> #messages #session #methods)
        })
    }

    fn stubs(&self) -> TokenStream {
        let at_item = place_of(self.server.ty.item_name);
        let stub = quote_spanned!(at_item=> ::core::unimplemented!());
        let open_session = self.open_session(Some(&stub));
        let process_request = self.process_request(&[], &quote_spanned!(at_item=> async { #stub }));
        quote!(#open_session #process_request)
    }

    fn methods(&self, checks: &[TokenStream], answer: &TokenStream) -> TokenStream {
        let span = self.span;
        let half_close = self.model.options.given(OptionName::HalfClose);
        let ends =
            half_close.map(|_| quote_spanned!(span=> const ENDS_AT_HALF_CLOSE: bool = true;));
        let waits = (!self.server.waits).then(|| quote_spanned!(span=> const WAITS: bool = false;));
        let is_event = is_event(self.model.options, &quote_spanned!(span=> Self), span);
        let concurrency = self.concurrency();
        let private = &self.private;
        let framing = self.server.changed_framing.as_ref().map(|ty| {
            // rustc reports a framing without `Clone` at its type.
            let clone = quote_spanned!(start_of(ty)=> ::core::clone::Clone::clone);
            quote_spanned! {span=>
                const CLONE_FRAMING: ::core::option::Option<#private::CloneFraming<Self::Framing>> =
                    ::core::option::Option::Some(#clone);
            }
        });
        let framing_value = self.framing_value();
        let (greeting, reject_with) = (self.greeting(), self.reject_with());
        let open_session = self.open_session(self.initial_session().as_ref());
        let at_item = place_of(self.server.ty.item_name);
        // A function that does not wait needs no coroutine, which takes the compiler several times as long as a closure.
        let body = if self.server.waits {
            quote_spanned!(at_item=> async move { #answer })
        } else {
            let private = self.model.options.library.module(at_item);
            quote_spanned!(at_item=> #private::at_once(move || { #answer }))
        };
        let process_request = self.process_request(checks, &body);
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
            // By default, a framing with ids would run these requests side by side.
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
        let imports = self.imports_around();
        Some(quote_spanned! {span=>
            const CONCURRENT: ::core::option::Option<#concurrency> = {
                #imports
                ::core::option::Option::Some(#concurrency::#order(#limit))
            };
        })
    }

    /// Imports the items around a module, so that a name in an option has the meaning that it has there, beside the
    /// attribute, or else its meaning in the module.
    fn imports_around(&self) -> Option<TokenStream> {
        let is_module = matches!(self.model.item, ModelItem::Operations(_));
        is_module.then(|| {
            quote_spanned! {self.span=>
                #[allow(unused_imports, reason = "the option may need nothing of it")]
                use super::*;
            }
        })
    }

    fn process_request(&self, checks: &[TokenStream], body: &TokenStream) -> TokenStream {
        let (private, at_item) = (&self.private, place_of(self.server.ty.item_name));
        // The trait requires that the future is `Send`. A second requirement here would take the compiler twice as
        // long.
        let future = quote_spanned! {at_item=>
            impl ::core::future::Future<
                Output = ::core::result::Result<Self::Reply<'exchange>, #private::Rejection>
            >
        };
        quote_spanned! {self.span=>
            fn process_request<'exchange>(
                &'exchange self,
                context: #private::Context<'exchange, Self::Session>,
                request: Self::Request<'exchange>,
            ) -> #future {
                #(#checks)*
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
}

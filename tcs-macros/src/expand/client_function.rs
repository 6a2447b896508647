//! Writes the implementation of `ClientProtocol` for a function.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::{Expr, ReturnType, Type};

use super::{
    call::function_call,
    encoder::encoder,
    options::{checks_in_use, type_or},
    protocol_type::{declare, message_item, or_unknown},
    trait_impl::{Requirement, TraitImpl},
};
use crate::{
    args::{Args, OptionName},
    model::{
        Field, Model,
        client_function::{ClientFunction, Half},
        protocol_type::ProtocolType,
    },
    spans::start_of,
    syntax::lifetimes,
};

/// Writes the protocol of a function.
pub(super) fn expand(model: &Model<'_>, client: &ClientFunction<'_>) -> TokenStream {
    let (args, ty, exchange) = (model.args, &client.ty, &client.exchange);
    let server = args.server.as_ref();
    let expansion = ClientExpansion {
        args,
        client,
        ty,
        half: exchange.half.as_ref().filter(|_| model.is_valid),
        reply: or_unknown(exchange.reply.as_ref(), &args.library, ty.item_name()),
        // Errors in the type of a server are at one place, so that rustc reports it once.
        span: server.map_or_else(|| start_of(&ty.name), start_of),
    };
    let (reply_alias, reply) = message_item(ty, "Reply", &expansion.reply);
    let server_alias = expansion.server_alias();
    let implementation = TraitImpl::new(model, ty, Requirement::SendField);
    let implementation = implementation.write(expansion.span, &expansion.items(&reply));
    let items = quote_spanned!(expansion.span=> #server_alias #reply_alias #implementation);
    declare(ty, &items)
}

/// Writes the parts of the implementation.
struct ClientExpansion<'a> {
    args: &'a Args,
    client: &'a ClientFunction<'a>,
    ty: &'a ProtocolType<'a>,
    /// `None` if there is an error.
    half: Option<&'a Half>,
    reply: Type,
    /// Where errors about the implementation as a whole are reported.
    span: Span,
}

impl ClientExpansion<'_> {
    /// Writes what the implementation consists of.
    fn items(&self, reply: &TokenStream) -> TokenStream {
        let Self { args, ty, span, .. } = *self;
        let framing = self.option("Framing", args.framing.as_ref(), "LengthPrefixed");
        let format = self.option("Format", args.format.as_ref(), "Plain");
        let has_greeting = self.of_server("HAS_GREETING", None).unwrap_or_else(|| {
            let is_given = args.given(OptionName::Greeting).is_some();
            is_given.into_token_stream()
        });
        let (prepare_request, process_reply) = (self.prepare_request(), self.process_reply());
        let checks = self.half.map(|_| checks_in_use(args));
        let private = args.library.private(span);
        let output = self.client.exchange.output.as_ref();
        let output = or_unknown(output, &args.library, &ty.name);
        // That the future is not `Send` is reported where its type is.
        let returned = quote_spanned!(span=> Output = Self::Output);
        let future = quote_spanned! {start_of(ty.item_name())=>
            impl ::core::future::Future<#returned> + ::core::marker::Send
        };
        quote_spanned! {span=>
            type Framing = #framing;
            type Format = #format;
            #reply
            type Output = #output;
            const HAS_GREETING: bool = #has_greeting;

            fn prepare_request(&self) -> impl #private::Encode<Self::Format> {
                #checks
                #prepare_request
            }

            fn process_reply<'exchange>(
                self,
                peer: &'exchange #private::Peer,
                reply: Self::Reply<'exchange>,
            ) -> #future {
                #process_reply
            }
        }
    }

    /// Writes what an option decides: the server's, or the given type, or the default.
    fn option(&self, item: &str, given: Option<&Type>, default: &str) -> TokenStream {
        let of_server = self.of_server(item, None);
        of_server.unwrap_or_else(|| {
            let span = start_of(self.ty.item_name());
            type_or(given, default, &self.args.library, span)
        })
    }

    /// Writes an item of the contract of the server, if there is one. An error about it is reported at
    /// `written`, or else at the server.
    fn of_server(&self, item: &str, written: Option<&Type>) -> Option<TokenStream> {
        let server = self.args.server.as_ref()?;
        let written = written.unwrap_or(server);
        let path = match self.server_alias() {
            Some(_) => Ident::new("__Server", start_of(written)).into_token_stream(),
            None => server.to_token_stream(),
        };
        let contract = self.args.library.item("Contract", written);
        let item = Ident::new(item, start_of(written));
        Some(quote_spanned!(start_of(written)=> <#path as #contract>::#item))
    }

    /// Names the server's type once, so that one that is not found is one error.
    fn server_alias(&self) -> Option<TokenStream> {
        let server = self.args.server.as_ref()?;
        let is_plain = lifetimes::find(server).is_empty() && self.ty.generics.params.is_empty();
        is_plain.then(|| quote_spanned!(self.span=> type __Server = #server;))
    }

    fn prepare_request(&self) -> TokenStream {
        let (ty, library) = (self.ty, &self.args.library);
        match self.half {
            Some(Half::Reply { request, .. }) => self.evaluated(request),
            Some(Half::Request) => {
                // The fields stay in the protocol, whose `process_reply` may need them.
                let arguments = ty.fields.iter().map(|Field { name, ty: field }| {
                    let clone = library.item("CloneArgument", field);
                    let span = start_of(ty.item_name());
                    quote_spanned!(span=> <#field as #clone>::clone_argument(&self.#name))
                });
                let call = function_call(ty.item_name(), &ty.generics, arguments);
                match &self.client.function.sig.output {
                    ReturnType::Default => self.request_encoder(ty.item_name(), call),
                    ReturnType::Type(_, returned) => {
                        // The call is at the function's name, but errors in its value are at its type.
                        let span = start_of(returned);
                        let value = quote_spanned!(span=> match #call { request => request });
                        self.request_encoder(returned, value)
                    }
                }
            }
            None => {
                let unknown = library.item("Unknown", &ty.name);
                quote_spanned! {start_of(&ty.name)=>
                    let none: fn() -> #unknown = || ::core::unimplemented!();
                    none()
                }
            }
        }
    }

    /// Writes the user's expression that makes the request, with the fields in its scope.
    fn evaluated(&self, request: &Expr) -> TokenStream {
        let span = start_of(request);
        let private = self.args.library.private(span);
        let names = self.ty.fields.iter().map(|field| &field.name);
        let encoder = self.request_encoder(request, request.to_token_stream());
        quote_spanned! {span=>
            #[allow(unused_imports, reason = "a protocol may have no field, or none by reference")]
            use #private::FieldReference as _;
            #(let #names = #private::FieldValue(&self.#names).get();)*
            #encoder
        }
    }

    /// Writes an encoder of a request, which must be the server's if there is one. An error about it is
    /// reported at `written`.
    fn request_encoder(&self, written: &impl ToTokens, request: TokenStream) -> TokenStream {
        // For `request = &format!("hello {name}"), server = Greet`:
        //
        //     encoder(move |out| Encoded(Encode::<Self::Format>::encode(
        //         match (&format!("hello {name}")) {
        //             request => {
        //                 let request: <__Server as Contract>::Request<'_> = request;
        //                 request
        //             }
        //         },
        //         out,
        //     )))
        //
        // A `let` instead of the `match` would drop the text that the request borrows from. Without the
        // type, a number would be an `i32` whatever the server reads.
        let value = self.of_server("Request", None).map(|expected| {
            let with_lifetime = quote_spanned!(self.span=> #expected<'_>);
            quote_spanned! {start_of(written)=>
                match (#request) {
                    request => {
                        let request: #with_lifetime = request;
                        request
                    }
                }
            }
        });
        encoder(&self.args.library, written, &value.unwrap_or(request))
    }

    fn process_reply(&self) -> TokenStream {
        let Self {
            args, ty, reply, ..
        } = self;
        let received = Ident::new("reply", start_of(reply));
        let (value, span) = match self.half {
            Some(Half::Reply { arguments, .. }) => {
                let span = start_of(ty.item_name());
                let private = args.library.private(span);
                let fields = arguments.iter();
                let fields = fields.map(|name| quote_spanned!(span=> self.#name));
                let arguments = [received.into_token_stream()].into_iter().chain(fields);
                let call = function_call(ty.item_name(), &ty.generics, arguments);
                let value = if self.client.function.is_async() {
                    quote_spanned!(span=> #private::send(#call).await)
                } else {
                    call
                };
                (value, span)
            }
            Some(Half::Request) => (received.into_token_stream(), start_of(reply)),
            None => return quote_spanned!(start_of(&ty.name)=> async { ::core::unimplemented!() }),
        };
        // The server's reply can be read as the type of this one. It is checked in the body: on the
        // implementation, it would be an error at each use of the protocol.
        let check = self.of_server("Reply", Some(reply)).map(|sent| {
            let assert_reply = args.library.item("assert_reply", reply);
            let span = start_of(reply);
            quote_spanned!(span=> #assert_reply::<#sent<'_>, Self::Reply<'_>, Self::Format>();)
        });
        quote_spanned! {span=>
            #check
            async move { #value }
        }
    }
}

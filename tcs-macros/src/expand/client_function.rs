//! Writes the implementation of `ClientProtocol` for a function.

use std::iter;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Expr, ReturnType, Type};

use super::{
    call::function_call,
    encoder,
    options::{format, framing},
    protocol_type::{declare, message_item, or_unknown},
    trait_impl::{Requirement, TraitImpl},
};
use crate::{
    model::{
        Model,
        client_function::{ClientFunction, Half},
        protocol_type::Field,
    },
    options::{OptionName, Options},
    spans::{place_of, start_of},
    syntax::lifetimes,
};

/// Writes the protocol of a function.
pub(super) fn expand(model: &Model<'_>, client: &ClientFunction<'_>) -> TokenStream {
    let (options, ty, exchange) = (model.options, &client.ty, &client.exchange);
    let server = options.server.as_ref();
    let expansion = ClientExpansion {
        options,
        client,
        half: exchange.half.as_ref().filter(|_| model.is_valid),
        reply: or_unknown(exchange.reply.as_ref(), &options.library, ty.item_name),
        // All errors in the type of a server are at one place, so that rustc reports them once.
        span: server.map_or_else(|| place_of(&ty.name), start_of),
    };
    let (reply_alias, reply) = message_item(ty, "Reply", &expansion.reply);
    // The alias names the server's type once, so that rustc reports an unknown type once.
    let (has_alias, span) = (expansion.has_server_alias(), expansion.span);
    let server_alias = has_alias.then(|| quote_spanned!(span=> type __Server = #server;));
    let trait_impl = TraitImpl::new(model, ty, Requirement::SEND_FIELD);
    let implementation = trait_impl.write(span, |checks| expansion.items(&reply, checks));
    let items = quote_spanned!(span=> #server_alias #reply_alias #implementation);
    declare(ty, &items)
}

/// Writes the parts of the implementation.
struct ClientExpansion<'a> {
    options: &'a Options,
    client: &'a ClientFunction<'a>,
    /// `None` if there is an error.
    half: Option<&'a Half>,
    reply: Type,
    /// The place of errors about the implementation as a whole.
    span: Span,
}

impl ClientExpansion<'_> {
    /// Writes the items of the implementation.
    fn items(&self, reply: &TokenStream, checks: &[TokenStream]) -> TokenStream {
        let (options, ty, span) = (self.options, &self.client.ty, self.span);
        let at_item = place_of(ty.item_name);
        let of_server = |item| self.of_server(item, None);
        let framing = of_server("Framing").unwrap_or_else(|| framing(options, at_item));
        let format = of_server("Format").unwrap_or_else(|| format(options, at_item));
        let greeting = options.given(OptionName::Greeting).is_some();
        let has_greeting = of_server("HAS_GREETING").unwrap_or_else(|| quote!(#greeting));
        let (prepare_request, process_reply) = (self.prepare_request(), self.process_reply());
        let private = options.library.module(span);
        let output = self.client.exchange.output.as_ref();
        let output = or_unknown(output, &options.library, &ty.name);
        // rustc reports a future that is not `Send` at the type of the future.
        let returned = quote_spanned!(span=> Output = Self::Output);
        let future = quote_spanned! {at_item=>
            impl ::core::future::Future<#returned> + ::core::marker::Send
        };
        quote_spanned! {span=>
            type Framing = #framing;
            type Format = #format;
            #reply
            type Output = #output;
            const HAS_GREETING: bool = #has_greeting;

            fn prepare_request(&self) -> impl #private::Encode<Self::Format> {
                #(#checks)*
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

    /// Writes an item of the server's contract, if there is a server. Errors about the item are at `written`, or else
    /// at the server.
    fn of_server(&self, item: &str, written: Option<&Type>) -> Option<TokenStream> {
        let server = self.options.server.as_ref()?;
        let written = written.unwrap_or(server);
        let path = if self.has_server_alias() {
            Ident::new("__Server", start_of(written)).into_token_stream()
        } else {
            server.to_token_stream()
        };
        let contract = self.options.library.item("Contract", written);
        let item = Ident::new(item, start_of(written));
        Some(quote_spanned!(start_of(written)=> <#path as #contract>::#item))
    }

    /// Returns `true` if the server's type can have an alias, which has no parameters.
    fn has_server_alias(&self) -> bool {
        let server = self.options.server.as_ref();
        let is_plain = server.is_some_and(|server| lifetimes::find(server).is_empty());
        is_plain && self.client.ty.generics.params.is_empty()
    }

    fn prepare_request(&self) -> TokenStream {
        let (ty, library) = (&self.client.ty, &self.options.library);
        match self.half {
            Some(Half::ProcessReply { request, .. }) => self.evaluated(request),
            Some(Half::MakeRequest) => {
                // The fields stay in the protocol, whose `process_reply` may need them.
                let values = ty.fields.iter().map(|Field { name, ty: field }| {
                    let clone = library.item("CloneArgument", field);
                    let span = place_of(ty.item_name);
                    quote_spanned!(span=> <#field as #clone>::clone_argument(&self.#name))
                });
                let call = function_call(ty.item_name, &ty.generics, values);
                match &self.client.function.sig.output {
                    ReturnType::Default => self.request_encoder(ty.item_name, call),
                    ReturnType::Type(_, returned) => {
                        // The call is at the function's name, but errors about the returned value are at the return
                        // type.
                        let span = start_of(returned);
                        let value = quote_spanned!(span=> match #call { request => request });
                        self.request_encoder(returned, value)
                    }
                }
            }
            None => {
                let unknown = library.item("Unknown", &ty.name);
                quote_spanned! {place_of(&ty.name)=>
                    let none: fn() -> #unknown = || ::core::unimplemented!();
                    none()
                }
            }
        }
    }

    /// Writes the user's expression that makes the request, with the fields in its scope.
    fn evaluated(&self, request: &Expr) -> TokenStream {
        let span = start_of(request);
        let private = self.options.library.module(span);
        let names = self.client.ty.fields.iter().map(|field| &field.name);
        let encoder = self.request_encoder(request, request.to_token_stream());
        quote_spanned! {span=>
            #[allow(unused_imports, reason = "a protocol may have no field, or none by reference")]
            use #private::FieldValueFallback as _;
            #(let #names = #private::FieldValue(&self.#names).get();)*
            #encoder
        }
    }

    /// Writes an encoder of a request, which must have the type of the server's requests if there is a server. Errors
    /// about the request are at `written`.
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
        // A `let` instead of the `match` would drop the text that the request borrows from. Without the type, a number
        // would be an `i32`, even if the server reads another type.
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
        encoder(&self.options.library, written, &value.unwrap_or(request))
    }

    fn process_reply(&self) -> TokenStream {
        let ty = &self.client.ty;
        let (value, span) = match self.half {
            Some(Half::ProcessReply { fields, .. }) => {
                (self.processed(fields), place_of(ty.item_name))
            }
            Some(Half::MakeRequest) => (self.received(), start_of(&self.reply)),
            None => return quote_spanned!(place_of(&ty.name)=> async { ::core::unimplemented!() }),
        };
        let check = self.reply_check();
        quote_spanned! {span=>
            #check
            async move { #value }
        }
    }

    /// Writes the variable that has the reply.
    fn received(&self) -> TokenStream {
        Ident::new("reply", start_of(&self.reply)).into_token_stream()
    }

    /// Writes the call of a function that processes the reply.
    fn processed(&self, fields: &[Ident]) -> TokenStream {
        let ty = &self.client.ty;
        let span = place_of(ty.item_name);
        let fields = fields.iter().map(|name| quote_spanned!(span=> self.#name));
        let values = iter::once(self.received()).chain(fields);
        let call = function_call(ty.item_name, &ty.generics, values);
        if !self.client.function.is_async() {
            return call;
        }
        let private = self.options.library.module(span);
        quote_spanned!(span=> #private::send(#call).await)
    }

    /// Writes a check that this protocol's type of replies can read the server's reply. The check is in the body of a
    /// method: as a bound of the implementation, it would cause an error at each use of the protocol.
    fn reply_check(&self) -> Option<TokenStream> {
        let reply = &self.reply;
        let sent = self.of_server("Reply", Some(reply))?;
        let private = self.options.library.module(start_of(reply));
        let check = self.options.library.item("ReplyCheck", reply);
        let types = quote_spanned!(start_of(reply)=> #sent<'_>, Self::Reply<'_>, Self::Format);
        Some(quote_spanned! {start_of(reply)=>
            #[allow(unused_imports, reason = "it is for replies that cannot be read")]
            use #private::ReplyCheckFallback as _;
            #check::<#types>::assert();
        })
    }
}

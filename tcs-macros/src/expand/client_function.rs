//! Writes the implementation of `ClientProtocol` for a function.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::{Expr, ReturnType, Type};

use super::{
    call::function_call,
    parts::{encoder, or_else},
    protocol_type::{MessageItem, declare, implement},
    requirements::{Requirements, SEND_FIELD},
};
use crate::{
    aim::at,
    args::{Args, OptionName},
    model::{
        Field,
        client_function::{ClientFunction, Half},
    },
    syntax::lifetimes,
};

/// Writes the protocol of a function.
pub(super) fn expand(model: &ClientFunction<'_>) -> TokenStream {
    let ty = &model.ty;
    let server = ty.args.server.as_ref();
    let client = ClientImpl {
        args: ty.args,
        model,
        // What is wrong with a server is reported at one place, so that rustc reports it once.
        span: server.map_or_else(|| at(&ty.name), at),
    };
    let MessageItem { declaration, item } = MessageItem::new(ty, "Reply", &model.reply);
    let (server_alias, items) = (client.server_alias(), client.items(&item));
    let implementation = implement(ty, client.span, &client.requirements(), &items);
    declare(
        ty,
        &quote_spanned!(client.span=> #server_alias #declaration #implementation),
    )
}

/// The implementation.
struct ClientImpl<'a> {
    args: &'a Args,
    model: &'a ClientFunction<'a>,
    /// Where errors about the implementation as a whole are reported.
    span: Span,
}

impl ClientImpl<'_> {
    /// Each field and each type parameter must be `Send`.
    fn requirements(&self) -> Requirements<'_> {
        let ty = &self.model.ty;
        let mut requirements = Requirements::new(ty, SEND_FIELD);
        for field in ty.fields.iter().filter(|_| ty.is_valid) {
            requirements.add(&field.ty, SEND_FIELD);
        }
        requirements
    }

    /// What the implementation consists of.
    fn items(&self, reply: &TokenStream) -> TokenStream {
        let Self { args, model, span } = *self;
        let framing = self.option("Framing", args.framing.as_ref(), "LengthPrefixed");
        let format = self.option("Format", args.format.as_ref(), "Plain");
        let has_greeting = self.of_server("HAS_GREETING", None).unwrap_or_else(|| {
            let is_given = args.given(OptionName::Greeting).is_some();
            is_given.into_token_stream()
        });
        let (prepare_request, process_reply) = (self.prepare_request(), self.process_reply());
        let (private, output) = (args.library.at(span), &model.output);
        // That the future is not `Send` is reported at the place of its type.
        let returned = quote_spanned!(span=> Output = Self::Output);
        let future = quote_spanned! {at(model.ty.place)=>
            impl ::core::future::Future<#returned> + ::core::marker::Send
        };
        quote_spanned! {span=>
            type Framing = #framing;
            type Format = #format;
            #reply
            type Output = #output;
            const HAS_GREETING: bool = #has_greeting;

            fn prepare_request(&self) -> impl #private::Encode<Self::Format> {
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

    /// What an option decides: the server's, or the given type, or the default.
    fn option(&self, item: &str, given: Option<&Type>, default: &str) -> TokenStream {
        let of_server = self.of_server(item, None);
        of_server.unwrap_or_else(|| {
            let default = self.args.library.item(default, self.model.ty.place);
            or_else(given, default)
        })
    }

    /// An item of the contract of the server, if there is one. An error about it belongs at `place`, or
    /// else at the server.
    fn of_server(&self, item: &str, place: Option<&Type>) -> Option<TokenStream> {
        let server = self.args.server.as_ref()?;
        let place = place.unwrap_or(server);
        let path = match self.server_alias() {
            Some(_) => Ident::new("__Server", at(place)).into_token_stream(),
            None => server.to_token_stream(),
        };
        let contract = self.args.library.item("Contract", place);
        let item = Ident::new(item, at(place));
        Some(quote_spanned!(at(place)=> <#path as #contract>::#item))
    }

    /// Names the server's type once, so that one that is not found is one error.
    fn server_alias(&self) -> Option<TokenStream> {
        let server = self.args.server.as_ref()?;
        let is_plain = lifetimes::find(server).is_empty();
        (is_plain && self.model.ty.generics.params.is_empty())
            .then(|| quote_spanned!(self.span=> type __Server = #server;))
    }

    fn prepare_request(&self) -> TokenStream {
        let protocol = &self.model.ty;
        match &self.model.half {
            Some(Half::Reply { request, .. }) => self.evaluated(request),
            Some(Half::Request) => {
                // The fields stay in the protocol, whose `process_reply` may need them.
                let arguments = protocol.fields.iter().map(|field| {
                    let Field { name, ty } = field;
                    let clone = self.args.library.item("CloneArgument", ty);
                    quote_spanned!(at(protocol.place)=> <#ty as #clone>::clone_argument(&self.#name))
                });
                let call = function_call(protocol.place, &protocol.generics, arguments);
                match &self.model.function.sig.output {
                    ReturnType::Default => self.encoder_of(&call, protocol.place),
                    ReturnType::Type(_, returned) => self.encoder_of(&call, returned),
                }
            }
            None => {
                let unknown = self.args.library.item("Unknown", &protocol.name);
                quote_spanned! {at(&protocol.name)=>
                    let none: fn() -> #unknown = || ::core::unimplemented!();
                    none()
                }
            }
        }
    }

    /// The user's expression that makes the request, with the fields in its scope.
    fn evaluated(&self, request: &Expr) -> TokenStream {
        let span = at(request);
        let private = self.args.library.at(span);
        let names = self.model.ty.fields.iter().map(|field| &field.name);
        let encoder = match &self.args.server {
            None => encoder(self.args, request),
            Some(_) => self.encoder_of(&quote_spanned!(span=> (#request)), request),
        };
        quote_spanned! {span=>
            #[allow(unused_imports, reason = "a protocol may have no field, or none by reference")]
            use #private::FieldReference as _;
            #(let #names = #private::FieldValue(&self.#names).get();)*
            #encoder
        }
    }

    /// An encoder of what `request` evaluates to, which must be the server's request if there is one.
    /// The `match` keeps the temporaries that it borrows from until the end.
    fn encoder_of(&self, request: &TokenStream, place: &impl ToTokens) -> TokenStream {
        // For `request = &format!("hello {name}"), server = Greet`:
        //
        //     encoder(move |out| match (&format!("hello {name}")) {
        //         request => {
        //             let request: <__Server as Contract>::Request<'_> = request;
        //             Encoded(Encode::<Self::Format>::encode(request, out))
        //         }
        //     })
        //
        // A `let` instead of the `match` would drop the text that the request borrows from. Without the
        // type, a number would be an `i32` whatever the server reads.
        let span = at(place);
        let private = self.args.library.at(span);
        let encode = self.args.library.item("Encode", place);
        let type_check = self.of_server("Request", None).map(|expected| {
            let with_lifetime = quote_spanned!(self.span=> #expected<'_>);
            quote_spanned!(span=> let request: #with_lifetime = request;)
        });
        quote_spanned! {span=>
            #private::encoder(move |out| match #request {
                request => {
                    #type_check
                    #private::Encoded(#encode::<Self::Format>::encode(request, out))
                }
            })
        }
    }

    fn process_reply(&self) -> TokenStream {
        let ClientFunction { ty, reply, .. } = self.model;
        let received = Ident::new("reply", at(reply));
        let (value, span) = match &self.model.half {
            Some(Half::Reply { arguments, .. }) => {
                let span = at(ty.place);
                let private = self.args.library.at(span);
                let fields = arguments
                    .iter()
                    .map(|name| quote_spanned!(span=> self.#name));
                let arguments = [received.into_token_stream()].into_iter().chain(fields);
                let call = function_call(ty.place, &ty.generics, arguments);
                let value = if self.model.function.is_async() {
                    quote_spanned!(span=> #private::send(#call).await)
                } else {
                    call
                };
                (value, span)
            }
            Some(Half::Request) => (received.into_token_stream(), at(reply)),
            None => return quote_spanned!(at(&ty.name)=> async { ::core::unimplemented!() }),
        };
        // The server's reply can be read as the type of this one. It is checked in the body: on the
        // implementation, it would be an error at each use of the protocol.
        let check = self.of_server("Reply", Some(reply)).map(|sent| {
            let assert_reply = self.args.library.item("assert_reply", reply);
            quote_spanned!(at(reply)=> #assert_reply::<#sent<'_>, Self::Reply<'_>, Self::Format>();)
        });
        quote_spanned! {span=>
            #check
            async move { #value }
        }
    }
}

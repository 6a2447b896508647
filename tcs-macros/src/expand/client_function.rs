//! Writes the implementation of `ClientProtocol`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::{Expr, ReturnType, Type};

use super::{
    call::turbofish,
    parts::encoder,
    protocol_type::{declare, implement, message_items},
    requirements::{Requirement, Requirements},
};
use crate::{
    aim::at,
    args::Args,
    model::{
        Field,
        client_function::{ClientFunction, Half},
    },
    syntax::lifetimes,
};

/// Writes the protocol of a function.
pub(super) fn expand(model: &ClientFunction<'_>) -> TokenStream {
    let ty = &model.ty;
    let client = Client {
        args: ty.args,
        model,
        // What is wrong with a server is reported at one place, so that rustc reports it once.
        span: ty.args.server.as_ref().map_or_else(|| at(&ty.name), at),
    };
    let [reply_alias, reply] = message_items(ty, "Reply", &model.reply);
    let (server_alias, items) = (client.server_alias(), client.items(&reply));
    let implementation = implement(ty, client.span, &client.requirements(), &items);
    declare(
        ty,
        &quote_spanned!(client.span=> #server_alias #reply_alias #implementation),
    )
}

struct Client<'a> {
    args: &'a Args,
    model: &'a ClientFunction<'a>,
    span: Span,
}

/// The bodies of the two methods.
struct Bodies {
    prepare_request: TokenStream,
    process_reply: TokenStream,
}

impl Client<'_> {
    /// What the implementation consists of; stubs if the function is wrong.
    fn items(&self, reply: &TokenStream) -> TokenStream {
        let Self { args, model, span } = *self;
        let types = self.types(reply);
        let Bodies {
            prepare_request,
            process_reply,
        } = match &model.half {
            Some(Half::Reply { request, arguments }) => self.reply_half(request, arguments),
            Some(Half::Request) => self.request_half(),
            None => self.stubs(),
        };
        let private = args.library.at(span);
        // That the future is not `Send` is reported at the place of its type.
        let output = quote_spanned!(span=> Output = Self::Output);
        let future = quote_spanned! {at(model.ty.place)=>
            impl ::core::future::Future<#output> + ::core::marker::Send
        };
        quote_spanned! {span=>
            #types

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

    fn types(&self, reply: &TokenStream) -> TokenStream {
        let Self { args, model, span } = *self;
        let output = &model.output;
        let framing = self.option("Framing", args.framing.as_ref(), "LengthPrefixed");
        let format = self.option("Format", args.format.as_ref(), "Plain");
        let greets = match &args.server {
            Some(server) => self.of_server(server, &quote_spanned!(span=> HAS_GREETING), server),
            None => args.given("greeting").is_some().into_token_stream(),
        };
        quote_spanned! {span=>
            type Framing = #framing;
            type Format = #format;
            #reply
            type Output = #output;
            const HAS_GREETING: bool = #greets;
        }
    }

    /// What an option decides: the server's, or the given type, or the default.
    fn option(&self, item: &str, given: Option<&Type>, default: &str) -> TokenStream {
        match (&self.args.server, given) {
            (Some(server), _) => {
                let item = Ident::new(item, at(server)).into_token_stream();
                self.of_server(server, &item, server)
            }
            (None, Some(given)) => given.to_token_stream(),
            (None, None) => {
                let place = self.model.ty.place;
                self.args.library.item(default, place)
            }
        }
    }

    /// An item of the server's contract; an error about it belongs at `place`.
    fn of_server(
        &self,
        server: &Type,
        item: &TokenStream,
        place: &(impl ToTokens + ?Sized),
    ) -> TokenStream {
        let alias = self.server_alias();
        let alias = alias.map(|_| Ident::new("__Server", at(place)).into_token_stream());
        let server = alias.unwrap_or_else(|| server.to_token_stream());
        let contract = self.args.library.item("Contract", place);
        quote_spanned!(at(place)=> <#server as #contract>::#item)
    }

    /// Names the server's type once, so that one that is not found is one error.
    fn server_alias(&self) -> Option<TokenStream> {
        let server = self.args.server.as_ref()?;
        let is_plain = lifetimes::find(server).is_empty();
        (is_plain && self.model.ty.generics.params.is_empty())
            .then(|| quote_spanned!(self.span=> type __Server = #server;))
    }

    /// Each field and each type parameter must be `Send`.
    fn requirements(&self) -> Requirements<'_> {
        let ty = &self.model.ty;
        let mut requirements = Requirements::new(ty, Requirement::SendField);
        for field in ty.fields.iter().filter(|_| ty.is_valid) {
            requirements.add(&field.ty, Requirement::SendField);
        }
        requirements
    }

    /// The bodies where the function processes the reply.
    fn reply_half(&self, request: &Expr, arguments: &[Ident]) -> Bodies {
        let ClientFunction {
            function,
            ty,
            reply,
            ..
        } = self.model;
        let span = at(ty.place);
        let (ident, turbofish) = (ty.place, turbofish(&ty.generics, span));
        let received = Ident::new("reply", at(reply));
        let call = quote_spanned!(span=> #ident #turbofish (#received, #(self.#arguments,)*));
        let private = self.args.library.at(span);
        let value = if function.is_async() {
            quote_spanned!(span=> #private::send(#call).await)
        } else {
            call
        };
        let check = self.reply_check(reply);
        Bodies {
            prepare_request: self.request(request),
            process_reply: quote_spanned! {span=>
                #check
                async move { #value }
            },
        }
    }

    /// The user's expression that makes the request, with the fields in its scope.
    fn request(&self, request: &Expr) -> TokenStream {
        let span = at(request);
        let private = self.args.library.at(span);
        let names = self.model.ty.fields.iter().map(|field| &field.name);
        let encoder = match &self.args.server {
            None => encoder(self.args, request),
            Some(_) => self.request_encoder(&quote_spanned!(span=> (#request)), request),
        };
        quote_spanned! {span=>
            #[allow(unused_imports, reason = "a protocol may have no field, or none by reference")]
            use #private::FieldReference as _;
            #(let #names = #private::FieldValue(&self.#names).get();)*
            #encoder
        }
    }

    /// The bodies where the function makes the request.
    fn request_half(&self) -> Bodies {
        let ClientFunction {
            function,
            ty,
            reply,
            ..
        } = self.model;
        let span = at(ty.place);
        let (ident, turbofish) = (ty.place, turbofish(&ty.generics, span));
        let arguments = ty.fields.iter().map(|Field { name, ty }| {
            let clone = self.args.library.item("CloneArgument", ty);
            quote_spanned!(span=> <#ty as #clone>::clone_argument(&self.#name))
        });
        let call = quote_spanned!(span=> #ident #turbofish (#(#arguments,)*));
        let returned: &dyn ToTokens = match &function.sig.output {
            ReturnType::Default => ident,
            ReturnType::Type(_, ty) => ty,
        };
        let check = self.reply_check(reply);
        Bodies {
            prepare_request: self.request_encoder(&call, returned),
            process_reply: quote_spanned! {at(reply)=>
                #check
                async move { reply }
            },
        }
    }

    /// An encoder of what `request` evaluates to, which must be the server's request if there is one.
    /// The `match` keeps the temporaries that it borrows from until the end.
    fn request_encoder(
        &self,
        request: &TokenStream,
        place: &(impl ToTokens + ?Sized),
    ) -> TokenStream {
        let span = at(place);
        let private = self.args.library.at(span);
        let encode = self.args.library.item("Encode", place);
        let type_check = self.args.server.as_ref().map(|server| {
            let expected = quote_spanned!(at(server)=> Request<'_>);
            let expected = self.of_server(server, &expected, server);
            quote_spanned!(span=> let request: #expected = request;)
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

    /// Checks that the server's reply can be read as the type of this one.
    fn reply_check(&self, reply: &Type) -> Option<TokenStream> {
        let sent = quote_spanned!(at(reply)=> Reply<'_>);
        let sent = self.of_server(self.args.server.as_ref()?, &sent, reply);
        let check = self.args.library.item("assert_reply", reply);
        Some(quote_spanned! {at(reply)=>
            #check::<#sent, Self::Reply<'_>, Self::Format>();
        })
    }

    /// The bodies of a function that is wrong.
    fn stubs(&self) -> Bodies {
        let name = &self.model.ty.name;
        let span = at(name);
        let unknown = self.args.library.item("Unknown", name);
        Bodies {
            prepare_request: quote_spanned! {span=>
                let none: fn() -> #unknown = || ::core::unimplemented!();
                none()
            },
            process_reply: quote_spanned!(span=> async { ::core::unimplemented!() }),
        }
    }
}

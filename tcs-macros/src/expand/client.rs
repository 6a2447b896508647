//! Writes the implementation of `ClientProtocol`.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::{Expr, ReturnType, Type};

use super::{
    call::turbofish,
    checks::{checks, framing_check},
    parts::{Kept, or_else, sending, where_clause},
    shape::{Origin, declare},
};
use crate::{
    aim::{at, twin},
    args::Args,
    errors::Errors,
    item::Function,
    lifetimes,
    model::client::ClientProtocol,
    types::Field,
};

/// Writes the type of a function and what it implements; with stubs unless the function is right.
pub(super) fn function(
    args: &Args,
    function: &Function,
    name: &Ident,
    errors: &mut Errors,
) -> TokenStream {
    let protocol = ClientProtocol::of_function(args, function, errors);
    let client = Client {
        args,
        function,
        protocol: &protocol,
    };
    let implementation = client.implementation(name, errors.is_empty());
    let origin = Origin::function(function);
    let (generics, fields) = (&protocol.generics, &protocol.fields);
    declare(&origin, name, generics, fields, &implementation)
}

struct Client<'a> {
    args: &'a Args,
    function: &'a Function,
    protocol: &'a ClientProtocol,
}

impl Client<'_> {
    fn implementation(&self, name: &Ident, is_right: bool) -> TokenStream {
        let Self {
            args,
            function,
            protocol,
        } = self;
        // What is wrong with a server is said at one place, so that rustc says it once.
        let span = args.server.as_ref().map_or_else(|| at(name), at);
        let private = args.library.at(span);
        let (prepare_request, process_reply) = match (&protocol.request, &protocol.reply) {
            (Some(request), Some(reply)) if is_right => self.process(request, reply),
            (None, Some(reply)) if is_right => self.prepare(reply),
            _ => self.stub(name),
        };
        let unknown = args.library.item("Unknown", name);
        let reply = or_else(protocol.reply.as_ref(), unknown.clone());
        let output = or_else(protocol.output.as_ref(), unknown);
        let framing = self.option("Framing", args.framing.as_ref(), "LengthPrefixed");
        let format = self.option("Format", args.format.as_ref(), "Plain");
        let greets = args.server.as_ref().map(|server| {
            let greets = self.of_server(server, &quote_spanned!(span=> HAS_GREETING), server);
            quote_spanned!(span=> const HAS_GREETING: bool = #greets;)
        });
        let alias = args.server.iter().filter(|server| self.has_alias(server));
        let alias = alias.map(|server| quote_spanned!(span=> type __Server = #server;));
        let generics = &protocol.generics;
        let twin = twin("impl", &function.sig.ident);
        let (impl_generics, type_generics, _) = generics.split_for_impl();
        let kept = self.kept(is_right);
        let where_clause = where_clause(span, generics, &kept.bounds);
        let kept = &kept.checks;
        let output_type = quote_spanned!(span=> Output = Self::Output);
        let future = quote_spanned! {at(&function.sig.ident)=>
            impl ::core::future::Future<#output_type> + ::core::marker::Send
        };
        let framing_of = quote_spanned!(span=> <#name as #private::ClientProtocol>::Framing);
        let checks = is_right.then(|| checks(args, generics, &framing_of));
        let mistake = quote_spanned!(span=> #private::client_mistake::<#name>);
        let framing_check = framing_check(args, generics, &mistake);
        quote_spanned! {span=>
            #framing_check
            #(#kept)*
            #(#alias)*

            #[automatically_derived]
            #twin #impl_generics #private::ClientProtocol for #name #type_generics #where_clause {
                type Framing = #framing;
                type Format = #format;
                type Reply<'exchange> = #reply;
                type Output = #output;
                #greets

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

            #checks
        }
    }

    /// An item of the server's contract; an error about it belongs at `place`.
    fn of_server(
        &self,
        server: &Type,
        item: &TokenStream,
        place: &(impl ToTokens + ?Sized),
    ) -> TokenStream {
        let server = if self.has_alias(server) {
            Ident::new("__Server", at(place)).into_token_stream()
        } else {
            server.to_token_stream()
        };
        let contract = self.args.library.item("Contract", place);
        quote_spanned!(at(place)=> <#server as #contract>::#item)
    }

    /// Returns whether the server's type is named once, so that one that is not found is one error.
    fn has_alias(&self, server: &Type) -> bool {
        self.protocol.generics.params.is_empty() && lifetimes::find(server).is_empty()
    }

    /// What an option decides: the server's, or the given type, or the default.
    fn option(&self, item: &str, given: Option<&Type>, default: &str) -> TokenStream {
        match (&self.args.server, given) {
            (Some(server), _) => {
                let item = Ident::new(item, at(server)).into_token_stream();
                self.of_server(server, &item, server)
            }
            (None, Some(given)) => given.to_token_stream(),
            (None, None) => self.args.library.item(default, &self.function.sig.ident),
        }
    }

    /// Each field, and each type parameter, must be `Send`.
    fn kept(&self, is_right: bool) -> Kept<'_> {
        let Self { args, protocol, .. } = self;
        let mut kept = Kept::new(
            &args.library,
            &protocol.generics,
            &self.function.sig.ident,
            "Carried",
        );
        for Field { ty, .. } in protocol.fields.iter().filter(|_| is_right) {
            kept.add(ty, "Carried", "carried");
        }
        kept
    }

    /// The function processes the reply.
    fn process(&self, request: &Expr, reply: &Type) -> (TokenStream, TokenStream) {
        let Self {
            function, protocol, ..
        } = self;
        let ident = &function.sig.ident;
        let span = at(ident);
        let arguments = &protocol.arguments;
        let received = Ident::new("reply", at(reply));
        let turbofish = turbofish(&protocol.generics, span);
        let taken = self.taken(reply);
        let prepare_request = self.request(request);
        let call = quote_spanned!(span=> #ident #turbofish (#received, #(self.#arguments,)*));
        let private = self.args.library.at(span);
        let value = if function.is_async() {
            quote_spanned!(span=> #private::send(#call).await)
        } else {
            call
        };
        let process_reply = quote_spanned! {span=>
            #taken
            async move { #value }
        };
        (prepare_request, process_reply)
    }

    /// What makes the request: the user's expression, with the fields in its scope.
    fn request(&self, request: &Expr) -> TokenStream {
        let span = at(request);
        let private = self.args.library.at(span);
        let names = self.protocol.fields.iter().map(|field| &field.name);
        let format = quote_spanned!(span=> Self::Format);
        let message = match &self.args.server {
            None => sending(self.args, &format, request),
            server => self.sending(server.as_ref(), &quote_spanned!(span=> (#request)), request),
        };
        quote_spanned! {span=>
            #[allow(unused_imports, reason = "a protocol may have no field, or none by reference")]
            use #private::Seen as _;
            #(let #names = #private::Field(&self.#names).seen();)*
            #message
        }
    }

    /// The function makes the request.
    fn prepare(&self, reply: &Type) -> (TokenStream, TokenStream) {
        let Self {
            args,
            function,
            protocol,
        } = self;
        let ident = &function.sig.ident;
        let span = at(ident);
        let turbofish = turbofish(&protocol.generics, span);
        let arguments = protocol.fields.iter().map(|Field { name, ty }| {
            let lent = args.library.item("Lent", ty);
            quote_spanned!(span=> <#ty as #lent>::lend(&self.#name))
        });
        let call = quote_spanned!(span=> #ident #turbofish (#(#arguments,)*));
        let returned: &dyn ToTokens = match &function.sig.output {
            ReturnType::Default => ident,
            ReturnType::Type(_, ty) => ty,
        };
        let taken = self.taken(reply);
        let prepare_request = self.sending(args.server.as_ref(), &call, returned);
        let process_reply = quote_spanned! {at(reply)=>
            #taken
            async move { reply }
        };
        (prepare_request, process_reply)
    }

    /// An encoder of what `request` evaluates to, which must be the server's request if there is one; the
    /// `match` keeps what it borrows from its own temporaries until the end.
    fn sending(
        &self,
        server: Option<&Type>,
        request: &TokenStream,
        place: &(impl ToTokens + ?Sized),
    ) -> TokenStream {
        let span = at(place);
        let private = self.args.library.at(span);
        let encode = self.args.library.item("Encode", place);
        let judged = server.map(|server| {
            let asked = quote_spanned!(at(server)=> Request<'_>);
            let asked = self.of_server(server, &asked, server);
            quote_spanned!(span=> let request: #asked = request;)
        });
        quote_spanned! {span=>
            #private::sending(move |out| match #request {
                request => {
                    #judged
                    #encode::<Self::Format>::encode(request, out)
                }
            })
        }
    }

    /// Checks that the server's reply can be taken as the type of this one.
    fn taken(&self, reply: &Type) -> Option<TokenStream> {
        let sent = quote_spanned!(at(reply)=> Reply<'_>);
        let sent = self.of_server(self.args.server.as_ref()?, &sent, reply);
        let taken = self.args.library.item("taken", reply);
        Some(quote_spanned! {at(reply)=>
            #taken::<#sent, Self::Reply<'_>, Self::Format>();
        })
    }

    /// A function that is wrong has a type all the same.
    fn stub(&self, name: &Ident) -> (TokenStream, TokenStream) {
        let span = at(name);
        let unknown = self.args.library.item("Unknown", name);
        let prepare_request = quote_spanned! {span=>
            let none: fn() -> #unknown = || ::core::unimplemented!();
            none()
        };
        let process_reply = quote_spanned!(span=> async { ::core::unimplemented!() });
        (prepare_request, process_reply)
    }
}

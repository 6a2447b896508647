//! Writes what differs between a function that processes the reply and one that makes the request.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::{Expr, ReturnType, Type};

use super::{
    expand::{Expansion, Parts},
    model::Process,
};
use crate::{
    emit::{Field, sending, turbofish},
    spans::{at, private, respan},
};

impl Expansion<'_> {
    /// The function processes the reply.
    pub(super) fn process(&self, process: &Process) -> Parts {
        let Process {
            request,
            reply,
            written,
            output,
        } = process;
        let Self {
            args,
            function,
            model,
            krate,
        } = self;
        let ident = &function.sig.ident;
        let span = at(ident);
        let turbofish = turbofish(&model.generics);
        let mut arguments = TokenStream::new();
        for name in &model.arguments {
            arguments.extend(quote_spanned!(span=> self.#name,));
        }
        let received = Ident::new("reply", at(written));
        let wait = function.is_async().then(|| quote_spanned!(span=> .await));
        Parts {
            reply: match &args.server {
                Some(server) => self.received(server),
                None => reply.to_token_stream(),
            },
            output: output.to_token_stream(),
            prepare_request: self.request(krate, request),
            process_reply: quote_spanned! {span=>
                async move { #ident #turbofish (#received, #arguments) #wait }
            },
        }
    }

    /// What makes the request: the user's expression, with the fields in its scope.
    fn request(&self, krate: &TokenStream, request: &Expr) -> TokenStream {
        let span = at(request);
        let here = respan(krate.clone(), span);
        let mut fields = TokenStream::new();
        for Field { name, .. } in &self.model.fields {
            fields.extend(quote_spanned! {span=>
                #[allow(unused_variables, reason = "the expression need not mention it")]
                let #name = #here::__private::Field(&self.#name).seen();
            });
        }
        let format = quote_spanned!(span=> Self::Format);
        let message = match &self.args.server {
            None => sending(krate, &format, request),
            Some(server) => {
                let encode = private(krate, "Encode", request);
                let asked = self.asked(server);
                // The match keeps what the expression borrows until the end.
                quote_spanned! {span=>
                    #here::__private::sending(move |out| match (#request) {
                        request => {
                            let request: #asked = request;
                            #encode::<#format>::encode(request, out)
                        }
                    })
                }
            }
        };
        quote_spanned! {span=>
            #[allow(unused_imports, reason = "a protocol may have no field, or none by reference")]
            use #here::__private::Seen as _;
            #fields
            #message
        }
    }

    /// The function makes the request.
    pub(super) fn prepare(&self, reply: &Type) -> Parts {
        let Self {
            args,
            function,
            model,
            krate,
        } = self;
        let ident = &function.sig.ident;
        let span = at(ident);
        let turbofish = turbofish(&model.generics);
        let mut arguments = TokenStream::new();
        for Field { name, ty } in &model.fields {
            let lent = private(krate, "Lent", ty);
            arguments.extend(quote_spanned!(span=> <#ty as #lent>::lend(&self.#name),));
        }
        let returned: &dyn ToTokens = match &function.sig.output {
            ReturnType::Default => ident,
            ReturnType::Type(_, ty) => ty,
        };
        let place = at(returned);
        let call = quote_spanned!(span=> #ident #turbofish (#arguments));
        let here = respan(krate.clone(), place);
        let format = quote_spanned!(place=> Self::Format);
        let encode = private(krate, "Encode", returned);
        let judged = args.server.as_ref().map(|server| {
            let asked = self.asked(server);
            quote_spanned!(place=> let request: #asked = request;)
        });
        let request = quote_spanned! {place=>
            match #call {
                request => {
                    #judged
                    #encode::<#format>::encode(request, out)
                }
            }
        };
        let taken = at(reply);
        let taken_krate = respan(krate.clone(), taken);
        let (received, value) = match &args.server {
            None => (reply.to_token_stream(), quote_spanned!(taken=> reply)),
            Some(server) => (
                self.received(server),
                quote_spanned! {taken=>
                    let reply: #reply = #taken_krate::__private::Taken(reply).owned();
                    reply
                },
            ),
        };
        Parts {
            reply: received,
            output: reply.to_token_stream(),
            prepare_request: quote_spanned! {span=>
                #here::__private::sending(move |out| #request)
            },
            process_reply: quote_spanned! {span=>
                #[allow(unused_imports, reason = "only a reply that owns itself needs it")]
                use #here::__private::AsItIs as _;
                async move { #value }
            },
        }
    }
}

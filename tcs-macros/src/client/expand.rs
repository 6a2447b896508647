//! Writes the implementation of `ClientProtocol`; cannot fail.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens as _, quote_spanned};
use syn::Type;

use super::model::{Half, Model};
use crate::{
    args::Args,
    checks::checks,
    emit::{Field, Origin, Shape, allowance, judged, parameter_bounds, type_bound, where_clause},
    item::Function,
    server::expand::or_else,
    spans::{at, private},
};

/// Writes the type and what it implements; with a stub for a body unless the function `is_right`.
pub(crate) fn expand(
    args: &Args,
    function: &Function,
    name: &Ident,
    model: &Model,
    is_right: bool,
) -> TokenStream {
    let shape = Shape {
        origin: Origin::of(function),
        name,
        generics: &model.generics,
        fields: &model.fields,
    };
    let expansion = Expansion {
        args,
        function,
        model,
        krate: args.krate(),
    };
    shape.declare(&expansion.implementation(name, is_right))
}

/// The parts of the implementation that depend on the half.
pub(super) struct Parts {
    pub(super) reply: TokenStream,
    pub(super) output: TokenStream,
    pub(super) prepare_request: TokenStream,
    pub(super) process_reply: TokenStream,
}

pub(super) struct Expansion<'a> {
    pub(super) args: &'a Args,
    pub(super) function: &'a Function,
    pub(super) model: &'a Model,
    pub(super) krate: TokenStream,
}

impl Expansion<'_> {
    fn implementation(&self, name: &Ident, is_right: bool) -> TokenStream {
        let Self { model, krate, .. } = self;
        // What is wrong with a server is said at one place, so that rustc says it once.
        let span = match &self.args.server {
            Some(server) => at(server),
            None => at(name),
        };
        let private = quote_spanned!(span=> #krate::__private);
        let framing = self.of_server("Framing", self.args.framing.as_ref(), "LengthPrefixed");
        let format = self.of_server("Format", self.args.format.as_ref(), "Plain");
        let Parts {
            reply,
            output,
            prepare_request,
            process_reply,
        } = match &model.half {
            Half::Process(process) if is_right => self.process(process),
            Half::Prepare { reply } if is_right => self.prepare(reply),
            half => self.stub(name, half),
        };
        let (impl_generics, type_generics, _) = model.generics.split_for_impl();
        let where_clause = where_clause(span, &model.generics, &self.bounds(is_right));
        let allowance = allowance(span);
        let framing_of = quote_spanned!(span=> <#name as #private::ClientProtocol>::Framing);
        let checks = is_right.then(|| checks(self.args, &model.generics, &framing_of));
        let output_type = quote_spanned!(span=> Output = Self::Output);
        let future = quote_spanned! {at(&self.function.sig.ident)=>
            impl ::core::future::Future<#output_type> + ::core::marker::Send
        };
        let mistake = quote_spanned!(span=> #private::client_mistake::<#name>);
        let greets = self.args.server.as_ref().map(|server| {
            let greets = self.of_server("GREETS", None, "");
            quote_spanned!(at(server)=> const GREETS: bool = #greets;)
        });
        let judged = judged(self.args.framing.as_ref(), &model.generics, &mistake);
        quote_spanned! {span=>
            #judged

            #[automatically_derived]
            #allowance
            #[allow(unused_variables, reason = "the function need not take all of them")]
            impl #impl_generics #private::ClientProtocol for #name #type_generics #where_clause {
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

    /// An associated item: the server's, or the given one, or the default.
    fn of_server(&self, item: &str, given: Option<&Type>, default: &str) -> TokenStream {
        if let Some(server) = &self.args.server {
            let item = Ident::new(item, at(server));
            let contract = private(&self.krate, "Contract", server);
            return quote_spanned!(at(server)=> <#server as #contract>::#item);
        }
        match given {
            Some(given) => given.to_token_stream(),
            None => private(&self.krate, default, &self.function.sig.ident),
        }
    }

    /// Each field, and each type parameter, must be `Send`; the bound stands at the user's type.
    fn bounds(&self, is_right: bool) -> TokenStream {
        let Self { model, krate, .. } = self;
        let mut bounds = parameter_bounds(&model.generics, krate, "Carried");
        if is_right {
            for Field { ty, .. } in &model.fields {
                bounds.extend(type_bound(ty, krate, "Carried", ty));
            }
        }
        bounds
    }

    /// The request of the server.
    pub(super) fn asked(&self, server: &Type) -> TokenStream {
        let contract = private(&self.krate, "Contract", server);
        quote_spanned!(at(server)=> <#server as #contract>::Request<'_>)
    }

    /// The reply of the server, as a caller sees it.
    pub(super) fn received(&self, server: &Type) -> TokenStream {
        let span = at(server);
        let contract = private(&self.krate, "Contract", server);
        let received = private(&self.krate, "Received", server);
        quote_spanned! {span=>
            <<#server as #contract>::Reply<'exchange> as
                #received<'exchange, <#server as #contract>::Format>>::Value
        }
    }

    /// A function that is wrong has a type all the same.
    fn stub(&self, name: &Ident, half: &Half) -> Parts {
        let span = at(name);
        let unknown = private(&self.krate, "Unknown", name);
        let (reply, output) = match half {
            Half::Process(process) => (Some(&process.reply), Some(&process.output)),
            Half::Prepare { reply } => (Some(&**reply), Some(&**reply)),
            Half::Unclear { reply, output } => (reply.as_deref(), output.as_deref()),
        };
        Parts {
            reply: or_else(reply, unknown.clone()),
            output: or_else(output, unknown.clone()),
            prepare_request: quote_spanned! {span=>
                let none: fn() -> #unknown = || ::core::unimplemented!();
                none()
            },
            process_reply: quote_spanned!(span=> async { ::core::unimplemented!() }),
        }
    }
}

//! Which fields a client's type has.

use proc_macro2::Ident;
use quote::ToTokens as _;
use syn::{ExprClosure, FnArg, Pat, PatType, ReturnType, parse_quote};

use crate::{
    emit::{Field, field},
    errors::Errors,
    item::{bare, find_impl, is_unsized},
    lifetimes, parameter,
};

/// The fields, from the parameters of the closure and of the function.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) list: Vec<Field>,
    /// Those that the function is called with.
    pub(super) arguments: Vec<Ident>,
}

impl Fields {
    pub(super) fn of_closure(&mut self, closure: &ExprClosure, errors: &mut Errors) {
        if let Some(keyword) = &closure.asyncness {
            errors.at(keyword, "a request is made without waiting: remove `async`");
        }
        if !matches!(closure.output, ReturnType::Default) {
            errors.at(
                &closure.output,
                "the expression has its own type: remove this",
            );
        }
        for input in closure.inputs.pairs() {
            let input = input.into_value();
            let Pat::Type(PatType { pat, ty, .. }) = input else {
                errors.at(
                    input,
                    "a parameter of the request becomes a field: write `name: Type`",
                );
                continue;
            };
            let Some(name) = parameter::name(pat) else {
                errors.at(
                    pat,
                    "a parameter of the request becomes a field: give it a name",
                );
                continue;
            };
            if field(&self.list, name).is_some() {
                errors.at(name, format_args!("`{name}` stands here twice: remove one"));
                continue;
            }
            if is_unsized(bare(ty)) {
                errors.at(ty, "a field has a known size: borrow it with `&`");
                continue;
            }
            self.add(name, ty, errors);
        }
    }

    pub(super) fn of_parameter(&mut self, parameter: &FnArg, errors: &mut Errors) {
        let FnArg::Typed(parameter) = parameter else {
            return;
        };
        parameter::no_role(parameter, errors);
        let PatType { pat, ty, .. } = parameter;
        let Some(name) = parameter::name(pat) else {
            errors.at(
                pat,
                "a parameter besides the reply becomes a field: give it a name",
            );
            return;
        };
        self.arguments.push(name.clone());
        match field(&self.list, name) {
            None => self.add(name, ty, errors),
            Some(field) => {
                let ours = lifetimes::unify(ty, "'a").to_token_stream().to_string();
                if field.ty.to_token_stream().to_string() != ours {
                    errors.at(
                        ty,
                        format_args!("the request has another type for `{name}`: write the same"),
                    );
                }
            }
        }
    }

    fn add(&mut self, name: &Ident, ty: &syn::Type, errors: &mut Errors) {
        let mut ty = lifetimes::unify(ty, "'a");
        if let Some(keyword) = find_impl(&ty) {
            errors.at(&keyword, "a field has one type: name it instead of `impl`");
            ty = parse_quote!(());
        } else if is_unsized(bare(&ty)) {
            errors.leave_to_rustc();
            ty = parse_quote!(());
        }
        self.list.push(Field {
            name: name.clone(),
            ty,
        });
    }
}

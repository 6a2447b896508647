//! The invisible groups around the tokens that a macro by example passes on, such as `$value:expr`.
//!
//! rustc ignores these groups in the output of an attribute: `$a * 2` with `1 + 1` for `$a` would be 3.

use proc_macro2::Span;
use syn::{
    Expr, ExprParen, Type, TypeParen, token,
    visit_mut::{self, VisitMut},
};

/// Replaces invisible groups by parentheses where parentheses can make a difference.
pub(crate) struct ParenthesizeGroups;

impl VisitMut for ParenthesizeGroups {
    fn visit_expr_mut(&mut self, expr: &mut Expr) {
        visit_mut::visit_expr_mut(self, expr);
        if let Expr::Group(group) = expr
            && !matches!(*group.expr, Expr::Path(_) | Expr::Lit(_))
        {
            *expr = Expr::Paren(ExprParen {
                attrs: Vec::new(),
                paren_token: token::Paren(Span::mixed_site()),
                expr: group.expr.clone(),
            });
        }
    }

    fn visit_type_mut(&mut self, ty: &mut Type) {
        visit_mut::visit_type_mut(self, ty);
        if let Type::Group(group) = ty
            && let Type::TraitObject(_) | Type::ImplTrait(_) = *group.elem
        {
            *ty = Type::Paren(TypeParen {
                attrs: Vec::new(),
                paren_token: token::Paren(Span::mixed_site()),
                elem: group.elem.clone(),
            });
        }
    }
}

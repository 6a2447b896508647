//! Rewrites of parsed types and expressions.

use proc_macro2::{Ident, Span};
use syn::{
    Expr, ExprParen, ExprPath, Path, QSelf, Type, TypeParen, TypePath, token,
    visit_mut::{self, VisitMut},
};

/// Replaces invisible groups by parentheses where parentheses can make a difference. Such groups are around the tokens
/// that a macro by example passes on, such as `$value:expr`.
///
/// rustc ignores these groups in the output of an attribute: `$a * 2` with `1 + 1` for `$a` would be 3.
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

/// Changes paths that begin with `super` or `self`, so that in a module they keep the meaning that they have around it.
pub(crate) struct IntoModule;

impl IntoModule {
    /// Moves `<X as super::Trait>::Type`, where a number counts the segments of the trait.
    fn visit_qualified(&mut self, qself: &mut Option<QSelf>, path: &mut Path) {
        let count = path.segments.len();
        self.visit_path_mut(path);
        if let Some(qself) = qself {
            self.visit_type_mut(&mut qself.ty);
            if qself.position > 0 {
                qself.position += path.segments.len() - count;
            }
        }
    }
}

impl VisitMut for IntoModule {
    fn visit_type_path_mut(&mut self, ty: &mut TypePath) {
        self.visit_qualified(&mut ty.qself, &mut ty.path);
    }

    fn visit_expr_path_mut(&mut self, expr: &mut ExprPath) {
        self.visit_qualified(&mut expr.qself, &mut expr.path);
    }

    fn visit_path_mut(&mut self, path: &mut Path) {
        visit_mut::visit_path_mut(self, path);
        let first = &mut path.segments[0].ident;
        let outer = Ident::new("super", first.span());
        if first == "self" {
            *first = outer;
        } else if first == "super" {
            path.segments.insert(0, outer.into());
        }
    }
}

//! Paths that are moved into a module.

use proc_macro2::Ident;
use syn::{
    ExprPath, Path, QSelf, TypePath,
    visit_mut::{self, VisitMut},
};

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

//! Paths that are moved into a module.

use proc_macro2::Ident;
use syn::{
    Path, PathSegment,
    visit_mut::{self, VisitMut},
};

/// Lets paths that begin with `super` or `self` mean the same this many modules deeper.
pub(crate) struct Deeper(pub(crate) usize);

impl VisitMut for Deeper {
    fn visit_path_mut(&mut self, path: &mut Path) {
        visit_mut::visit_path_mut(self, path);
        let first = &path.segments[0].ident;
        let (is_here, span) = (first == "self", first.span());
        if is_here || first == "super" {
            let supers = (0..self.0).map(|_| PathSegment::from(Ident::new("super", span)));
            let rest = path.segments.iter().skip(usize::from(is_here)).cloned();
            path.segments = supers.chain(rest).collect();
        }
    }
}

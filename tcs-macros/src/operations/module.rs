//! The module under an attribute: its functions are parsed, everything else stays as it is.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens as _, quote};
use syn::{
    Attribute as Attr, Item, ItemUse, Result, Token, UseTree, Visibility, braced,
    parse::{Parse, ParseStream, Parser as _},
    token,
};

use super::names::GENERATED;
use crate::{
    args::Args,
    errors::{Errors, error},
    item::Function,
    names::is_one_of,
    options::Attribute,
    parsing::parse,
    spans::all,
};

/// A module as it was written.
pub(crate) struct Module {
    attrs: Vec<Attr>,
    vis: Visibility,
    keyword: Token![mod],
    pub(super) ident: Ident,
    inner: Vec<Attr>,
    items: Vec<Part>,
}

/// What stands in the module.
enum Part {
    /// `pub`, in the words of the module.
    Operation(Function),
    /// A function that is not.
    Helper(Function),
    Other(Item),
}

/// Returns whether the item is a module.
pub(crate) fn is_module(item: &TokenStream) -> bool {
    let mut is_module = false;
    let result = parse(item.clone(), &mut |input| {
        input.call(Attr::parse_outer)?;
        input.parse::<Visibility>()?;
        is_module = input.peek(Token![mod]);
        input.parse::<TokenStream>()?;
        Ok(())
    });
    is_module && result.is_ok()
}

impl Parse for Module {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attrs = input.call(Attr::parse_outer)?;
        let vis = input.parse()?;
        let keyword = input.parse()?;
        let ident: Ident = input.parse()?;
        if !input.peek(token::Brace) {
            return Err(error(
                ident.span(),
                "the functions stand in this file: write `mod name { … }`",
            ));
        }
        let content;
        braced!(content in input);
        let inner = content.call(Attr::parse_inner)?;
        let mut items = Vec::new();
        while !content.is_empty() {
            items.push(content.parse()?);
        }
        Ok(Self {
            attrs,
            vis,
            keyword,
            ident,
            inner,
            items,
        })
    }
}

impl Parse for Part {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if !is_function(&input.fork()) {
            return input.parse().map(Self::Other);
        }
        let function = input.call(Function::parse_one)?;
        Ok(match function.vis {
            Visibility::Public(_) => Self::Operation(function),
            _ => Self::Helper(function),
        })
    }
}

fn is_function(input: ParseStream<'_>) -> bool {
    if input.call(Attr::parse_outer).is_err() || input.parse::<Visibility>().is_err() {
        return false;
    }
    while !input.peek(Token![fn]) {
        let is_part = input.peek(Token![const])
            || input.peek(Token![async])
            || input.peek(Token![unsafe])
            || input.peek(Token![extern])
            || input.peek(syn::LitStr);
        if !is_part || input.parse::<proc_macro2::TokenTree>().is_err() {
            return false;
        }
    }
    true
}

impl Module {
    pub(super) fn parse(item: TokenStream) -> Result<Self> {
        (|input: ParseStream<'_>| input.parse()).parse2(item)
    }

    /// Returns the functions that are operations.
    pub(super) fn operations(&self) -> Vec<&Function> {
        let mut operations = Vec::new();
        for item in &self.items {
            if let Part::Operation(function) = item {
                operations.push(function);
            }
        }
        operations
    }

    /// Returns the visibility of the module, as an item in it has it.
    ///
    /// What the server alone has needs not be more public: its session and its states may be private.
    pub(super) fn vis_inside(&self) -> TokenStream {
        match &self.vis {
            Visibility::Inherited => quote!(pub(super)),
            Visibility::Restricted(restricted) if restricted.path.is_ident("super") => {
                quote!(pub(in super::super))
            }
            Visibility::Restricted(restricted) if restricted.path.is_ident("self") => {
                quote!(pub(super))
            }
            other => other.to_token_stream(),
        }
    }

    /// Returns whether an item has a name that is generated, and reports it.
    pub(super) fn clashes(&self, errors: &mut Errors) -> bool {
        let mut names = Vec::new();
        for item in &self.items {
            if let Part::Other(item) = item {
                names_of(item, &mut names);
            }
        }
        let mut clashes = false;
        for name in names {
            if is_one_of(name, GENERATED) {
                clashes = true;
                errors.at(
                    name,
                    format_args!("`{name}` is generated here: give this another name"),
                );
            }
        }
        clashes
    }

    /// Returns the module as it was written, or without its functions, and with what is generated.
    pub(super) fn with(
        &self,
        attribute: Attribute,
        args: &Args,
        generated: &TokenStream,
    ) -> TokenStream {
        let Self {
            attrs,
            vis,
            keyword,
            ident,
            inner,
            items,
        } = self;
        let mut kept = TokenStream::new();
        for item in items {
            match (item, attribute) {
                (Part::Operation(function), Attribute::Server) => {
                    let function = function.kept(args);
                    kept.extend(quote! {
                        #[allow(private_interfaces, unreachable_pub, reason = "the messages say so")]
                        #function
                    });
                }
                (Part::Helper(function), Attribute::Server) => kept.extend(function.as_written()),
                (Part::Operation(_) | Part::Helper(_), Attribute::Client) => {}
                (Part::Other(item), _) => item.to_tokens(&mut kept),
            }
        }
        let (attrs, inner) = (all(attrs), all(inner));
        let allowed = (attribute == Attribute::Client).then(|| {
            quote! {
                #[allow(dead_code, unused_imports, reason = "the functions are left out")]
            }
        });
        quote! {
            #attrs
            #allowed
            #vis #keyword #ident {
                #inner
                #kept
                #generated
            }
        }
    }
}

/// Collects the names of types that an item brings.
fn names_of<'i>(item: &'i Item, names: &mut Vec<&'i Ident>) {
    match item {
        Item::Enum(item) => names.push(&item.ident),
        Item::Mod(item) => names.push(&item.ident),
        Item::Struct(item) => names.push(&item.ident),
        Item::Trait(item) => names.push(&item.ident),
        Item::Type(item) => names.push(&item.ident),
        Item::Union(item) => names.push(&item.ident),
        Item::Use(ItemUse { tree, .. }) => imported(tree, names),
        _ => {}
    }
}

fn imported<'i>(tree: &'i UseTree, names: &mut Vec<&'i Ident>) {
    match tree {
        UseTree::Path(path) => imported(&path.tree, names),
        UseTree::Name(name) => names.push(&name.ident),
        UseTree::Rename(rename) => names.push(&rename.rename),
        UseTree::Group(group) => {
            for tree in group.items.pairs() {
                imported(tree.into_value(), names);
            }
        }
        UseTree::Glob(_) => {}
    }
}

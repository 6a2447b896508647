//! One attribute, in the four steps of the crate.

use proc_macro2::TokenStream;

use crate::{
    errors::Errors,
    item::Item,
    model::{Model, describe::add_description},
    options::{Options, Side},
};

/// Expands to the item as written, followed by what is derived from it, followed by the errors.
///
/// The item is kept whatever the errors, and once its name is known, so is the type. Otherwise an error in one
/// place would be one at every use.
pub(crate) fn expand(side: Side, options: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    // Each step takes the errors so far and adds its own, because an error in an option must not hide one in
    // the function.
    let mut options = Options::parse(side, options, &mut errors);
    let Some(mut parsed) = Item::parse(side, item.clone(), &mut errors) else {
        return errors.append_to(crate::expand::expand_other(&options, item));
    };
    if let Item::Module(module) = &mut parsed {
        add_description(&options, module, &mut errors);
        options.move_into_module();
    }
    let model = Model::resolve(&options, &parsed, &mut errors);
    errors.append_to(crate::expand::expand(&model))
}

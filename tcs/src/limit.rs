//! Checks of settings, and of the parameters of framings.

use crate::{Error, framing::Framing};

/// The largest `max_frame_len`: 512 MiB, so that no length begins with a printable character.
const MAX_FRAME_LEN: usize = 512 << 20;

/// Returns an error if a setting is zero that must not be.
pub(crate) fn check_zero(settings: &[(&'static str, bool)]) -> Result<(), Error> {
    match settings.iter().find(|(_, is_zero)| *is_zero) {
        Some((setting, _)) => {
            let reason = "is zero, which leaves no room for anything";
            Err(Error::setting(setting, reason))
        }
        None => Ok(()),
    }
}

/// Returns an error if `max_frame_len` is so large that `LengthPrefixed` could not tell a length
/// from text, or smaller than the `least` bytes that every message of a framing has.
pub(crate) fn check_max_frame_len(length: usize, least: usize) -> Result<(), Error> {
    let reason = if length > MAX_FRAME_LEN {
        format!("is {length} bytes; the most is {MAX_FRAME_LEN} (512 MiB)")
    } else if length < least {
        format!("is {length} bytes, and a message of this framing has {least}")
    } else {
        return Ok(());
    };
    Err(Error::setting("max_frame_len", reason))
}

/// Stops the compiler at a framing with wrong parameters.
pub(crate) const fn assert_parameters<F: Framing>() {
    assert_no_mistake(F::PARAMETER_ERROR);
}

/// Stops the compiler at a mistake.
///
/// # Panics
///
/// If there is a mistake.
#[expect(clippy::panic, reason = "it is called by the compiler alone")]
pub const fn assert_no_mistake(mistake: Option<&'static str>) {
    if let Some(mistake) = mistake {
        panic!("{}", mistake);
    }
}

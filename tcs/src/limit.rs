//! What no setting may be.

use crate::{Error, Framing};

/// The largest `max_frame_len`: 512 MiB, so that no length begins with a printable character.
const MAX_FRAME_LEN: usize = 512 << 20;

/// Refuses settings that are zero where that makes no sense.
pub(crate) fn check_zero(settings: &[(&'static str, bool)]) -> Result<(), Error> {
    for (setting, is_zero) in settings {
        if *is_zero {
            let reason = "is zero, which leaves no room for anything";
            return Err(Error::setting(setting, reason));
        }
    }
    Ok(())
}

/// Refuses a `max_frame_len` that `LengthPrefixed` could not tell from text.
pub(crate) fn check_max_frame_len(length: usize) -> Result<(), Error> {
    if length > MAX_FRAME_LEN {
        let reason = format_args!("is {length} bytes; the most is {MAX_FRAME_LEN} (512 MiB)");
        return Err(Error::setting("max_frame_len", reason));
    }
    Ok(())
}

/// Refuses a `max_frame_len` below what every message of a framing has.
pub(crate) fn check_min_frame_len(length: usize, least: usize) -> Result<(), Error> {
    if length < least {
        let reason = format_args!("is {length} bytes, and a message of this framing has {least}");
        return Err(Error::setting("max_frame_len", reason));
    }
    Ok(())
}

/// Returns what every message of a framing has; refuses to compile one with wrong parameters.
pub(crate) const fn min_frame_len<F: Framing>() -> usize {
    const {
        assert_parameters::<F>();
    }
    F::MIN_FRAME_LEN
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

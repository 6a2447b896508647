//! Checks of settings, of the parameters of framings, and of the options of protocols.

use crate::{
    Error,
    format::{Decode, Encode},
    framing::{Framing, Side},
    protocol::{ClientProtocol, Pushes, ServerProtocol, has_no_request, is_concurrent},
};

/// The largest `max_frame_len` and `max_reply_len`: 512 MiB, so that no length begins with a printable character.
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

/// Returns an error if the maximum length of messages is so large that `LengthPrefixed` could not tell a length
/// from text, or smaller than the `least` bytes that every message of a framing has.
pub(crate) fn check_message_len(
    setting: &'static str,
    length: usize,
    least: usize,
) -> Result<(), Error> {
    let reason = if length > MAX_FRAME_LEN {
        format!("is {length} bytes; the most is {MAX_FRAME_LEN} (512 MiB)")
    } else if length < least {
        format!("is {length} bytes, and a message of this framing has {least}")
    } else {
        return Ok(());
    };
    Err(Error::setting(setting, reason))
}

/// Returns an error if a client would take the events of a protocol for replies.
#[inline]
pub(crate) fn check_events<F: Framing, P: Pushes>() -> Result<(), Error> {
    if P::HAS_IS_PUSH || F::HAS_VALUES || F::has_notices(Side::Server) {
        return Ok(());
    }
    let reason = "is missing beside `push`: this framing does not tell events from replies";
    Err(Error::setting("the option `is_push`", reason))
}

/// Stops the compiler at a framing with wrong parameters.
pub(crate) const fn assert_parameters<F: Framing>() {
    assert_no_error(F::PARAMETER_ERROR);
}

/// Stops the compiler at an error.
#[expect(clippy::panic, reason = "it is called by the compiler alone")]
pub(crate) const fn assert_no_error(error: Option<&'static str>) {
    if let Some(error) = error {
        panic!("{}", error);
    }
}

/// Returns the error in the framing of a server protocol, or in its use.
pub const fn server_error<P: ServerProtocol>(is_one_type: bool) -> Option<&'static str> {
    // All of these are known to the compiler, and would otherwise be found by the first peer of a server in
    // production.
    if P::ENDS_AT_HALF_CLOSE && P::Framing::EXCHANGES.end_at_half_close() {
        return Some("`half_close = ends` would end every request of this framing");
    }
    if is_concurrent::<P>() && P::Framing::HAS_VALUES {
        return Some("a `Codec` holds one message at a time: remove `concurrent`");
    }
    if is_concurrent::<P>() && <P::Reply<'static> as Encode<P::Format>>::UPGRADES {
        return Some("a function cannot take the connection of others over: remove `concurrent`");
    }
    if is_concurrent::<P>() && P::CLONE_FRAMING.is_some() {
        return Some("requests at the same time cannot change the framing: remove `concurrent`");
    }
    if has_no_request::<P>() && (P::Framing::HAS_IDS || P::Framing::HAS_VALUES) {
        return Some("`NoRequest` has neither an id nor a value: use another framing");
    }
    if has_no_request::<P>() && is_concurrent::<P>() {
        return Some("there is one call for each connection: remove `concurrent`");
    }
    let is_value = <P::Request<'static> as Decode<'static, P::Format>>::IS_VALUE;
    framing_error::<P::Framing>(is_value, is_one_type)
}

/// Returns the error in the framing of a client protocol.
pub const fn client_error<P: ClientProtocol>(is_one_type: bool) -> Option<&'static str> {
    let is_value = <P::Reply<'static> as Decode<'static, P::Format>>::IS_VALUE;
    framing_error::<P::Framing>(is_value, is_one_type)
}

/// Returns the error in a framing. `is_value` is whether the format reads values of a `Codec`,
/// and `is_one_type` whether the framing is the format.
const fn framing_error<F: Framing>(is_value: bool, is_one_type: bool) -> Option<&'static str> {
    if is_value != F::HAS_VALUES || F::HAS_VALUES && !is_one_type {
        return Some("a `Codec` is framing and format at once: write it in both options");
    }
    F::PARAMETER_ERROR
}

/// Returns the error in the framing of a module with an upload.
pub const fn upload_error<P: ServerProtocol>() -> Option<&'static str> {
    // Its client cannot call the upload, and the other functions could neither run side by side nor be cancelled.
    if P::Framing::HAS_IDS {
        return Some("uploads need `LengthPrefixed`: put them into a module of their own");
    }
    None
}

/// Returns the error in the option `reject_with` of a protocol.
pub const fn reject_with_error<P: ServerProtocol>() -> Option<&'static str> {
    if P::Framing::HAS_REJECTION_FRAME {
        return Some("this framing tells rejections by itself: remove `reject_with`");
    }
    None
}

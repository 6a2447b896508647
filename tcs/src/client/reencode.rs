//! Requests that are encoded once, and sent several times.

use super::requests::{EncodeRequest, encode_into};
use crate::{
    Result,
    framing::{Framing, Input, ReadState, Side},
};

/// Returns the message in the first frame of `frame`, or `None` if there is none.
///
/// Only for framings with [`HAS_INDEPENDENT_FRAMES`](Framing::HAS_INDEPENDENT_FRAMES).
pub(super) fn payload<F: Framing>(frame: &[u8]) -> Option<Vec<u8>> {
    let input = Input::new(frame, usize::MAX, Side::Server, ReadState::Idle);
    let parsed = F::default().parse(input).ok()??;
    frame.get(parsed.payload).map(<[u8]>::to_vec)
}

/// Writes a request that was sent before.
pub(super) fn encoded(request: &[u8]) -> impl EncodeRequest {
    move |out| {
        out.put(request);
        Ok(())
    }
}

/// Encodes a request without its frame.
pub(super) fn encode_unframed(encode: impl EncodeRequest, max_frame_len: usize) -> Result<Vec<u8>> {
    let mut request = Vec::new();
    encode_into(&mut request, max_frame_len, encode)?;
    Ok(request)
}

//! Commands of telnet (RFC 854).

use super::FrameError;

/// The byte before each command of telnet (RFC 854).
pub(super) const IAC: u8 = 255;
const SUBNEGOTIATION: u8 = 250;
const SUBNEGOTIATION_END: u8 = 240;
const WILL: u8 = 251;
const DONT: u8 = 254;

/// The maximum length of a subnegotiation. This library never asks for one, so it would be short.
const MAX_COMMAND: usize = 1_024;

/// Returns the length of the command of telnet at the start of `bytes`, or `None` if it is not complete.
pub(super) fn command_len(bytes: &[u8]) -> Result<Option<usize>, FrameError> {
    match bytes {
        [_, SUBNEGOTIATION, rest @ ..] => {
            let mut at = 0;
            let searched = rest.get(..MAX_COMMAND).unwrap_or(rest);
            while let Some([first, second]) = searched.get(at..at + 2) {
                match (*first, *second) {
                    (IAC, SUBNEGOTIATION_END) => return Ok(Some(at + 4)),
                    // Within a subnegotiation, two of these bytes stand for one, so the second does not end it.
                    (IAC, _) => at += 2,
                    _ => at += 1,
                }
            }
            if rest.len() > MAX_COMMAND {
                let text = format_args!("a command of telnet of more than {MAX_COMMAND} bytes");
                return Err(FrameError::malformed(text));
            }
            Ok(None)
        }
        [_, WILL..=DONT, _, ..] => Ok(Some(3)),
        [_] | [_, WILL..=DONT] => Ok(None),
        _ => Ok(Some(2)),
    }
}

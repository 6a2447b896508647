//! The first bytes of a connection.

use super::{
    Arrival, FrameError, ParsedFrame, Side, Unparsed, What,
    foreign::{OtherProtocol, refuse_length},
    sight::Sight,
    too_large,
};

/// Whether the peer has shown that it speaks the framing of its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Contact {
    #[default]
    First,
    /// It has begun with what can be an HTTP request line, too long to tell before its end.
    Long,
    /// It has, as far as can be told.
    Made,
}

/// What a framing cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Lines, so that a request line is one.
    Line,
    Other,
}

type Found = Result<Option<ParsedFrame>, FrameError>;

impl Contact {
    #[inline]
    pub(super) const fn is_made(self) -> bool {
        matches!(self, Self::Made)
    }

    /// Cuts a frame; the first one unless the peer speaks something else.
    #[inline]
    pub(super) fn parse(
        &mut self,
        input: Unparsed<'_>,
        unit: Unit,
        cut: impl FnOnce(Unparsed<'_>) -> Found,
    ) -> Found {
        if self.is_made() {
            return cut(input);
        }
        self.first(input, unit, cut)
    }

    /// Cuts the first frame, unless the peer speaks something else.
    ///
    /// What may still become something else is no error of this framing before more of it has
    /// arrived; but a complete message does not wait for that.
    #[cold]
    pub(super) fn first(
        &mut self,
        input: Unparsed<'_>,
        unit: Unit,
        cut: impl FnOnce(Unparsed<'_>) -> Found,
    ) -> Found {
        let sight = self.look(input, unit)?;
        self.judge(input, sight, cut(input))
    }

    /// Looks at the first bytes of a client; those that are clearly something else are an error.
    fn look(self, input: Unparsed<'_>, unit: Unit) -> Result<Sight, FrameError> {
        if input.side() == Side::Client {
            return Ok(Sight::None);
        }
        let sight = match self {
            Self::Long => Sight::Long,
            _ => Sight::of(input.bytes()),
        };
        match sight {
            Sight::Clear(foreign) => Err(FrameError::foreign(foreign)),
            Sight::Long if unit == Unit::Other => Err(FrameError::foreign(OtherProtocol::Http)),
            _ => {
                if unit == Unit::Line {
                    refuse_length(input)?;
                }
                Ok(sight)
            }
        }
    }

    /// Judges what was found in the first bytes.
    fn judge(&mut self, input: Unparsed<'_>, sight: Sight, found: Found) -> Found {
        match input.side() {
            Side::Server => self.of_client(input, sight, found),
            Side::Client => self.of_server(input, found),
        }
    }

    /// Judges what was found in the first bytes of a client.
    fn of_client(&mut self, input: Unparsed<'_>, sight: Sight, found: Found) -> Found {
        let may_be_foreign = sight != Sight::None;
        match found {
            Ok(None) => {
                *self = match sight {
                    Sight::None => Self::Made,
                    Sight::Long => Self::Long,
                    _ => Self::First,
                };
                Ok(None)
            }
            Ok(Some(cut)) if cut.what == What::TooLarge && may_be_foreign => wait(input, Ok(cut)),
            Ok(Some(cut)) => {
                let line = input.bytes().get(cut.frame.clone()).unwrap_or_default();
                if sight == Sight::Long && OtherProtocol::is_http_request_line(line) {
                    return Err(FrameError::foreign(OtherProtocol::Http));
                }
                *self = Self::Made;
                Ok(Some(cut))
            }
            Err(error) if error.foreign.is_some() => Err(error),
            // It is no frame either way, so it may as well be called what it looks like.
            Err(_) if sight == Sight::Long => Err(FrameError::foreign(OtherProtocol::Http)),
            Err(error) if may_be_foreign => wait(input, Err(error)),
            Err(error) => Err(error),
        }
    }

    /// Adds to an error what the server seems to speak. Where anything is a frame, nothing is said.
    fn of_server(&mut self, input: Unparsed<'_>, found: Found) -> Found {
        let error = match (found, OtherProtocol::of_server(input.bytes())) {
            (Err(error), Some(foreign)) => error.looking_like(foreign),
            (Ok(Some(cut)), Some(foreign)) if cut.what == What::TooLarge => {
                let error = FrameError::malformed(too_large(cut.frame.len(), input.limit()));
                error.looking_like(foreign)
            }
            (found, _) => {
                if !matches!(found, Ok(None)) {
                    *self = Self::Made;
                }
                return found;
            }
        };
        Err(error)
    }
}

/// Waits for more before something is held against the peer, if more can come.
fn wait(input: Unparsed<'_>, found: Result<ParsedFrame, FrameError>) -> Found {
    if input.arrival() == Arrival::Ended {
        return found.map(Some);
    }
    Ok(None)
}

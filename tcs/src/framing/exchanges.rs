//! How many exchanges a connection has.

/// How many exchanges of a request and a reply a connection has:
/// [`Framing::EXCHANGES`](super::Framing::EXCHANGES).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exchanges {
    /// Any number, one after the other.
    Many,
    /// One. The server closes the connection after its reply.
    One,
    /// One. The client closes its sending half, which ends its request. The server closes the connection after its
    /// reply.
    OneUntilHalfClose,
}

impl Exchanges {
    pub(crate) const fn are_many(self) -> bool {
        matches!(self, Self::Many)
    }

    /// Returns `true` if the end of the client's stream ends its request.
    pub(crate) const fn end_at_half_close(self) -> bool {
        matches!(self, Self::OneUntilHalfClose)
    }
}

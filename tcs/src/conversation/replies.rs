//! Streamed replies.

use std::{error, fmt, marker::PhantomData};

use super::{Conversation, encode, staged_items::FULL};
use crate::{ConnectionInfo, FromContext, Rejection, format::Encode};

/// A protocol whose functions reply with a stream of items.
///
/// The option `replies = Row<'_>` of [`#[server_protocol]`](crate::server_protocol) implements it. By hand:
///
/// ```
/// use tcs::{format::Plain, protocol::Streams};
///
/// /// Names the items.
/// enum Rows {}
///
/// impl Streams for Rows {
///     type Format = Plain;
///     type Item<'a> = &'a str;
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no items to reply with",
    label = "no `Streams`",
    note = "add the type of the items to the attribute of its function: `#[server_protocol(replies = Row<'_>)]`"
)]
// Where a handle is used without its option, rustc shows the line of the trait, so it says what to write.
#[rustfmt::skip]
pub trait Streams { // implemented by `#[server_protocol(replies = Row<'_>)]`
    /// The format of the items.
    type Format;
    /// An item, which may borrow.
    type Item<'a>;
}

/// Sends the items of a streamed reply.
///
/// Take it as a parameter, with the option `replies`. The reply that the function returns ends the stream, and may be
/// an error. Items are encoded immediately, so they may borrow from local variables.
///
/// With [`LengthPrefixed`](crate::framing::LengthPrefixed), the client can tell items from the reply. With framings
/// without control frames, both are ordinary messages, and the protocol must define which one is the last.
///
/// [`request_timeout`](crate::server::Server::request_timeout) limits the time from one item to the next.
///
/// # Examples
///
/// ```
/// use tcs::{framing::Lines, protocol::Replies, server_protocol};
///
/// #[server_protocol(framing = Lines, replies = u32)]
/// async fn count(to: u32, mut out: Replies<'_, Count>) -> Result<&'static str, String> {
///     for number in 1..=to {
///         out.send(number).await?;
///     }
///     Ok("end")
/// }
/// ```
#[doc(alias = "stream")]
#[derive(Debug)]
pub struct Replies<'a, P> {
    conversation: &'a Conversation,
    /// The item that is sent, or was sent last.
    item: Vec<u8>,
    protocol: PhantomData<fn() -> P>,
}

impl<P: Streams> Replies<'_, P> {
    /// Sends an item, after waiting while 64 KiB of items wait for a slow peer.
    ///
    /// # Errors
    ///
    /// Returns an error if the item cannot be encoded, or is longer than
    /// [`max_reply_len`](crate::server::Server::max_reply_len). The stream can continue without this item. If the peer
    /// has left, the function is dropped.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped while it waits, the item is not sent.
    pub async fn send<'i>(&mut self, item: P::Item<'i>) -> Result<(), SendError>
    where
        P::Item<'i>: Encode<P::Format>,
    {
        if self.encode(item)? {
            self.stage().await;
        }
        Ok(())
    }

    /// Sends all items of an iterator, as [`send`](Self::send) does.
    ///
    /// The next item is taken only when the one before was sent, so the iterator may be infinite.
    ///
    /// # Errors
    ///
    /// Returns the error of [`send`](Self::send) for the first item that fails. The items before it are sent.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped while it waits, the last item that was taken from the iterator is not sent.
    ///
    /// # Examples
    ///
    /// ```
    /// use tcs::{Response, framing::CrlfLines, protocol::Replies, server_protocol};
    ///
    /// /// The lines of a text, and a dot.
    /// #[server_protocol(framing = CrlfLines, replies = &str)]
    /// async fn help(topic: &str, mut out: Replies<'_, Help>) -> Result<&'static str, String> {
    ///     out.send_all([topic, "is documented elsewhere"]).await?;
    ///     Ok(".")
    /// }
    ///
    /// /// Several replies, none of which is the last one.
    /// #[server_protocol(framing = CrlfLines, replies = u32)]
    /// async fn count(to: u32, mut out: Replies<'_, Count>) -> Result<Response<()>, String> {
    ///     out.send_all(1..=to).await?;
    ///     Ok(Response::NoReply)
    /// }
    /// ```
    pub async fn send_all<'i>(
        &mut self,
        items: impl IntoIterator<Item = P::Item<'i>>,
    ) -> Result<(), SendError>
    where
        P::Item<'i>: Encode<P::Format>,
    {
        for item in items {
            if self.encode(item)? {
                self.stage().await;
            }
        }
        Ok(())
    }

    /// Encodes an item, which need not be `Send`. Returns `false` if there is none to send.
    pub(crate) fn encode<'i>(&mut self, item: P::Item<'i>) -> Result<bool, SendError>
    where
        P::Item<'i>: Encode<P::Format>,
    {
        let limit = self.conversation.connection.limits.message_len;
        encode(item, &mut self.item, limit).map_err(SendError)
    }

    /// Waits for room, and stages the encoded item. If the item were staged first, a function that drops this future and
    /// sends the next item would stage more and more.
    pub(crate) async fn stage(&mut self) {
        let items = &self.conversation.items;
        while !items.try_stage(&self.item) {
            items.room().await;
        }
        if self.item.capacity() > FULL {
            self.item = Vec::new();
        }
    }
}

impl ConnectionInfo {
    /// Returns a handle that sends the items of a streamed reply, as the parameter [`Replies`] of a function does.
    pub fn replies<P: Streams>(&self) -> Replies<'_, P> {
        Replies {
            conversation: self.conversation(),
            item: Vec::new(),
            protocol: PhantomData,
        }
    }
}

impl<'a, P: Streams> FromContext<'a> for Replies<'a, P> {
    fn from_context(info: &'a ConnectionInfo) -> Result<Self, Rejection> {
        Ok(info.replies())
    }
}

/// The error of [`Replies::send`], and of [`TestConnection::chunk`](super::TestConnection::chunk).
#[derive(Debug)]
pub struct SendError(pub(super) String);

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an item cannot be sent: {}", self.0)
    }
}

impl error::Error for SendError {}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;
    use crate::{Peer, format::Plain};

    enum Texts {}

    impl Streams for Texts {
        type Format = Plain;
        type Item<'a> = &'a str;
    }

    fn is_sent(out: &mut Replies<'_, Texts>, item: &str) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        matches!(pin!(out.send(item)).poll(&mut cx), Poll::Ready(Ok(())))
    }

    #[test]
    fn item_that_is_dropped_while_it_waits_for_room_is_not_sent() {
        let info = ConnectionInfo::new(Peer::unnamed());
        let mut out = info.replies::<Texts>();
        let long = "x".repeat(FULL);
        assert!(is_sent(&mut out, "first") && is_sent(&mut out, &long));
        for _ in 0..3 {
            assert!(!is_sent(&mut out, "dropped"));
        }
        let items = &info.conversation().items;
        let staged = items.take();
        assert!(staged.iter().eq([b"first", long.as_bytes()]));
        assert!(is_sent(&mut out, "next"));
        assert!(items.take().iter().eq([b"next"]));
    }
}

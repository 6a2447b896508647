//! Replies of many messages.

use std::{error, fmt, marker::PhantomData};

use super::{Conversation, Unsendable, encode, staged::FULL};
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
pub trait Streams {
    /// The format of the items.
    type Format;
    /// An item. It may borrow.
    type Item<'a>;
}

/// Sends the items of a streamed reply.
///
/// Take it as a parameter, with the option `replies`. The items go out before the reply, which is what the function
/// returns, and ends the stream. A function that returns an error after some items ends it with that error. Items are
/// encoded at once, so they may borrow from local variables.
///
/// With [`LengthPrefixed`](crate::framing::LengthPrefixed), the client knows items from the reply. With framings
/// without control frames, both are ordinary messages, and the protocol says which one is the last.
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
    /// The item that was sent last.
    item: Vec<u8>,
    protocol: PhantomData<fn() -> P>,
}

impl<P: Streams> Replies<'_, P> {
    /// Sends an item. Waits while 64 KiB of items wait for a peer that reads too slowly, so the memory for a stream is
    /// bounded.
    ///
    /// # Errors
    ///
    /// Returns an error if the item cannot be encoded, or is longer than
    /// [`max_reply_len`](crate::server::Server::max_reply_len). It is then not sent, and the stream can go on. If the
    /// peer is gone, the function is dropped.
    ///
    /// # Cancel safety
    ///
    /// The item is sent once the future was polled, even if the future is then dropped.
    pub async fn send<'i>(&mut self, item: P::Item<'i>) -> Result<(), SendError>
    where
        P::Item<'i>: Encode<P::Format>,
    {
        if self.stage(item)? {
            self.conversation.items.room().await;
        }
        Ok(())
    }

    /// Sends all items of an iterator, as [`send`](Self::send) does. Takes the next one from it only when there is
    /// room, so an iterator may be endless.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), for the first item that has an error. Those before it are sent.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the items that were taken from the iterator are sent.
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
            if self.stage(item)? {
                self.conversation.items.room().await;
            }
        }
        Ok(())
    }

    /// Encodes an item. Returns `true` if the next one must wait.
    fn stage<'i>(&mut self, item: P::Item<'i>) -> Result<bool, SendError>
    where
        P::Item<'i>: Encode<P::Format>,
    {
        let Conversation {
            items, connection, ..
        } = self.conversation;
        let limit = connection.limits.message_len;
        let encoded = encode(item, &mut self.item, limit).map_err(SendError)?;
        let must_wait = encoded && items.stage(&self.item);
        if self.item.capacity() > FULL {
            self.item = Vec::new();
        }
        Ok(must_wait)
    }
}

impl ConnectionInfo {
    /// Returns what sends the items of a streamed reply, as the parameter [`Replies`] of a function does.
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
pub struct SendError(pub(super) Unsendable);

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an item cannot be sent: {}", self.0)
    }
}

impl error::Error for SendError {}

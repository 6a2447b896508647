//! A connection without a server, for tests.

use std::{future::poll_fn, pin::pin};

use crate::{
    ConnectionInfo, Peer,
    format::{Decode, DecodeError, Frame},
    panics::lock,
    sync::{Mutex, MutexGuard},
};

/// A connection without a server and without a stream, for unit tests of functions that take part in a conversation.
///
/// The function gets its handles from [`info`](Self::info), and [`run`](Self::run) takes the place of the connection: it
/// takes what the function sends. Without it, a function with [`Replies`](super::Replies) waits after 64 KiB of items.
///
/// # Examples
///
/// ```
/// use tcs::{
///     format::Plain,
///     protocol::{Push, Replies, TestConnection},
///     server_protocol,
/// };
///
/// #[server_protocol(push = &str, replies = u32)]
/// async fn count(to: u32, push: Push<Count>, mut out: Replies<'_, Count>) -> Result<(), String> {
///     for number in 1..=to {
///         out.send(number).await?;
///     }
///     push.try_send("done")?;
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let test = TestConnection::new();
/// let info = test.info();
/// test.run(count(3, info.push(), info.replies())).await?;
/// assert_eq!(test.items::<u32, Plain>()?, [1, 2, 3]);
/// assert_eq!(test.events::<String, Plain>()?, ["done"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TestConnection {
    info: ConnectionInfo,
    /// Encoded.
    sent: Mutex<Sent>,
}

#[derive(Debug, Default)]
struct Sent {
    items: Vec<Vec<u8>>,
    events: Vec<Vec<u8>>,
}

impl TestConnection {
    /// Creates a connection of a peer without a name.
    pub fn new() -> Self {
        Self::of(Peer::unnamed())
    }

    /// Creates a connection of this peer.
    pub fn of(peer: Peer) -> Self {
        Self {
            info: ConnectionInfo::new(peer),
            sent: Mutex::default(),
        }
    }

    /// Returns the properties of the connection, which have the handles: `info.push()`, `info.replies()`, `info.closed()`.
    pub const fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    /// Runs a function to its end. Meanwhile, takes the items and events that it sends.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the function.
    pub async fn run<F: Future>(&self, function: F) -> F::Output {
        let mut function = pin!(function);
        poll_fn(|cx| {
            let polled = function.as_mut().poll(cx);
            self.take_sent();
            polled
        })
        .await
    }

    /// Tells the function that the peer has closed its sending half.
    pub fn close(&self) {
        self.info.conversation().close();
    }

    /// Returns the items that were sent since the last call, decoded.
    ///
    /// # Errors
    ///
    /// Returns an error if one of them is no `T` in this format.
    pub fn items<T, Format>(&self) -> Result<Vec<T>, DecodeError>
    where
        T: for<'a> Decode<'a, Format>,
    {
        self.take_sent();
        decode_all(&std::mem::take(&mut self.sent().items))
    }

    /// Returns the events that were pushed since the last call, decoded.
    ///
    /// # Errors
    ///
    /// Returns an error if one of them is no `T` in this format.
    pub fn events<T, Format>(&self) -> Result<Vec<T>, DecodeError>
    where
        T: for<'a> Decode<'a, Format>,
    {
        self.take_sent();
        decode_all(&std::mem::take(&mut self.sent().events))
    }

    fn take_sent(&self) {
        let Some(conversation) = self.info.open_conversation() else {
            return;
        };
        let items = conversation.items.take();
        let mut sent = self.sent();
        sent.items.extend(items.iter().map(<[u8]>::to_vec));
        if let Some(queue) = conversation.pushes() {
            queue.end_request();
            let mut events = Vec::new();
            queue.take_events(usize::MAX, &mut events, None);
            sent.events.extend(events.into_iter().map(Vec::from));
        }
    }

    fn sent(&self) -> MutexGuard<'_, Sent> {
        lock(&self.sent)
    }
}

impl Default for TestConnection {
    fn default() -> Self {
        Self::new()
    }
}

fn decode_all<T, Format>(messages: &[Vec<u8>]) -> Result<Vec<T>, DecodeError>
where
    T: for<'a> Decode<'a, Format>,
{
    let decoded = messages.iter().map(|message| {
        let mut scratch = Vec::new();
        T::decode(Frame::new(message).with_scratch(&mut scratch))
    });
    decoded.collect()
}

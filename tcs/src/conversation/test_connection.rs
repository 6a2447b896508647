//! A connection without a server, for tests.

use std::{collections::VecDeque, future::poll_fn, mem::take, pin::pin};

use super::{ChunksEnd, Conversation, Demand, SendError, encode};
use crate::{
    ConnectionInfo, Peer,
    format::{Decode, DecodeError, Encode, Frame},
    panics::lock,
    sync::{Mutex, MutexGuard},
};

/// A connection without a server and without a stream, for unit tests of functions that take part in a conversation.
///
/// The function gets its handles from [`info`](Self::info), and [`run`](Self::run) takes the place of the connection: it
/// takes what the function sends. Without `run`, a function with [`Replies`](super::Replies) waits after 64 KiB of items.
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
    messages: Mutex<Encoded>,
}

/// Messages that the function has sent, and those that it can receive.
#[derive(Debug, Default)]
struct Encoded {
    items: Vec<Vec<u8>>,
    events: Vec<Vec<u8>>,
    chunks: VecDeque<Vec<u8>>,
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
            messages: Mutex::default(),
        }
    }

    /// Returns the properties of the connection, which have the handles: `info.push()`, `info.replies()`, `info.requests()`,
    /// `info.closed()`.
    pub const fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    /// Adds a chunk for the function that runs next, which receives it with [`Requests`](super::Requests). After the last
    /// chunk, the request ends. A block ([`exactly`](super::Requests::exactly)) takes the bytes of chunks.
    ///
    /// # Errors
    ///
    /// Returns an error if the chunk cannot be encoded.
    pub fn chunk<Format>(&self, chunk: impl Encode<Format>) -> Result<(), SendError> {
        let mut bytes = Vec::new();
        if encode(chunk, &mut bytes, usize::MAX).map_err(SendError)? {
            self.messages().chunks.push_back(bytes);
        }
        Ok(())
    }

    /// Runs a function to its end. Meanwhile, takes the items and events that it sends, and gives it the chunks.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the function.
    pub async fn run<F: Future>(&self, function: F) -> F::Output {
        let mut function = pin!(function);
        let output = poll_fn(|cx| {
            let polled = function.as_mut().poll(cx);
            self.take_sent();
            if let Some(conversation) = self.info.open_conversation() {
                self.messages().give_chunk(conversation);
            }
            polled
        });
        let output = output.await;
        if let Some(conversation) = self.info.open_conversation() {
            conversation.chunks.reset();
            self.messages().chunks.clear();
        }
        output
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
        decode_all(&take(&mut self.messages().items))
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
        decode_all(&take(&mut self.messages().events))
    }

    fn take_sent(&self) {
        let Some(conversation) = self.info.open_conversation() else {
            return;
        };
        let items = conversation.items.take();
        let mut sent = self.messages();
        sent.items.extend(items.iter().map(<[u8]>::to_vec));
        if let Some(queue) = conversation.pushes() {
            queue.end_request();
            let mut events = Vec::new();
            queue.take_events(usize::MAX, &mut events, None);
            sent.events.extend(events.into_iter().map(Vec::from));
        }
    }

    fn messages(&self) -> MutexGuard<'_, Encoded> {
        lock(&self.messages)
    }
}

impl Encoded {
    /// Gives the function the chunk that it waits for, or the end of its request.
    fn give_chunk(&mut self, conversation: &Conversation) {
        let Some((demand, mut progress)) = conversation.chunks.begin_search() else {
            return;
        };
        while progress.skip > 0
            && let Some(skipped) = self.take_chunk(progress.skip)
        {
            progress.skip -= skipped.len();
        }
        let most = match demand {
            Demand::Chunks => usize::MAX,
            Demand::Bytes(length) => length,
        };
        match self.take_chunk(most) {
            Some(chunk) => progress.messages.push(&chunk),
            None => progress.end = Some(ChunksEnd::Complete),
        }
        conversation.chunks.give(progress);
    }

    /// Takes the next chunk, or its first `most` bytes.
    fn take_chunk(&mut self, most: usize) -> Option<Vec<u8>> {
        let mut chunk = self.chunks.pop_front()?;
        let rest = chunk.split_off(most.min(chunk.len()));
        if !rest.is_empty() {
            self.chunks.push_front(rest);
        }
        Some(chunk)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        format::Plain,
        protocol::{Receives, Requests},
    };

    enum Upload {}

    impl Receives for Upload {
        type Format = Plain;
        type Chunk<'a> = &'a str;
    }

    async fn rest(more: &mut Requests<'_, Upload>) -> Vec<String> {
        let mut chunks = Vec::new();
        while let Some(chunk) = more.next().await.expect("it is text") {
            chunks.push(chunk.to_owned());
        }
        chunks
    }

    #[tokio::test]
    async fn function_receives_its_chunks_and_blocks_and_the_end() {
        let test = TestConnection::new();
        for chunk in ["a", "", "1234567", "b"] {
            test.chunk::<Plain>(chunk).expect("it is text");
        }
        let mut more = test.info().requests::<Upload>();
        let received = test.run(async {
            assert_eq!(more.next().await.expect("it is text"), Some("a"));
            assert_eq!(more.next().await.expect("it is text"), Some(""));
            let mut block = more.exactly(4);
            assert_eq!(block.next().await.expect("it is there"), Some(&b"1234"[..]));
            assert_eq!(block.next().await.expect("it has ended"), None);
            drop(block);
            // The rest of a block is skipped.
            drop(more.exactly(2));
            rest(&mut more).await
        });
        assert_eq!(received.await, ["7", "b"]);
    }

    #[tokio::test]
    async fn each_function_has_chunks_of_its_own() {
        let test = TestConnection::new();
        for expected in ["a", "b"] {
            test.chunk::<Plain>(expected).expect("it is text");
            test.chunk::<Plain>("not received").expect("it is text");
            let mut more = test.info().requests::<Upload>();
            let received = test.run(async { more.next().await.map(|it| it.map(str::to_owned)) });
            let received = received.await.expect("it is text");
            assert_eq!(received.as_deref(), Some(expected));
        }
        let mut more = test.info().requests::<Upload>();
        assert!(test.run(rest(&mut more)).await.is_empty());
    }
}

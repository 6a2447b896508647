//! The protocol of the servers of the matrix.

use std::{
    collections::HashMap,
    marker::PhantomData,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use tcs::{
    ConnectionInfo, Rejection,
    format::Plain,
    protocol::{Context, Pushes, Receives, ServerProtocol, Streams},
};
use tcs_tests::{Act, BlockingFn, Gate, Kind, ReadyFn, SyncFn, WaitingFn};

use super::command::{BULK, CHUNK, EVENT, HOLD, ITEM, PUSH, ROWS, UPLOAD};
use crate::table::{Row, message, parsed};

/// The number of the last chunk of an upload, and of the request of the next peer.
pub(super) const LAST: u8 = 99;
/// The number of a request that is over-long.
pub(super) const LONG: u8 = 98;
/// More than the buffers of a socket have room for.
pub(super) const BULK_LEN: usize = 4 << 20;

/// What the functions tell the test.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// How often each request was executed.
    executed: Mutex<HashMap<u8, usize>>,
    /// How many requests were executed that the test has not sent.
    others: AtomicUsize,
    sessions: AtomicUsize,
    running: AtomicUsize,
}

impl Seen {
    /// Returns the numbers of the requests that were executed, and how many others.
    ///
    /// # Panics
    ///
    /// When a request was executed twice.
    pub(super) fn executed(&self) -> (Vec<u8>, usize) {
        let executed = self.executed.lock().expect("no panic");
        for (number, times) in &*executed {
            assert_eq!(*times, 1, "executions of {number}");
        }
        let mut numbers: Vec<_> = executed.keys().copied().collect();
        numbers.sort_unstable();
        (numbers, self.others.load(SeqCst))
    }

    /// Returns `true` if a session or a function is left.
    pub(super) fn is_busy(&self) -> bool {
        self.sessions.load(SeqCst) + self.running.load(SeqCst) > 0
    }
}

/// Counts up, and down when it is dropped.
pub(super) struct Counted(Arc<Seen>, fn(&Seen) -> &AtomicUsize);

impl Counted {
    fn new(seen: &Arc<Seen>, count: fn(&Seen) -> &AtomicUsize) -> Self {
        count(seen).fetch_add(1, SeqCst);
        Self(Arc::clone(seen), count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1(&self.0).fetch_sub(1, SeqCst);
    }
}

/// The kind of a function. It is no type, because each type makes the servers of all framings once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Sync,
    Ready,
    Waiting,
    Blocking,
}

impl How {
    async fn process(
        self,
        info: &ConnectionInfo,
        gate: &Gate,
        function: impl FnOnce() -> Act<()> + Send,
    ) {
        match self {
            Self::Sync => SyncFn::process(info, gate, function).await,
            Self::Ready => ReadyFn::process(info, gate, function).await,
            Self::Waiting => WaitingFn::process(info, gate, function).await,
            Self::Blocking => BlockingFn::process(info, gate, function).await,
        }
    }
}

/// Does what its requests say.
pub(super) struct MatrixProtocol<R, const WAITS: bool> {
    pub(super) how: How,
    pub(super) seen: Arc<Seen>,
    pub(super) gate: Gate,
    pub(super) row: PhantomData<fn() -> R>,
}

/// Names the items, events and chunks.
enum Bytes {}

impl Streams for Bytes {
    type Format = Plain;
    type Item<'a> = &'a [u8];
}

impl Pushes for Bytes {
    type Format = Plain;
    type Event<'a> = &'a [u8];
}

impl Receives for Bytes {
    type Format = Plain;
    type Chunk<'a> = &'a [u8];
}

impl<R: Row, const WAITS: bool> MatrixProtocol<R, WAITS> {
    /// Does what only a function can that waits.
    async fn converse(&self, info: &ConnectionInfo, command: u8) -> Result<(), Rejection> {
        // It was executed, so that it is not rejected as busy.
        let ended = || Rejection::error("it ended");
        match command {
            ROWS => {
                let mut out = info.replies::<Bytes>();
                for number in 1..=3 {
                    if number == 3 {
                        self.gate.pass().await;
                    }
                    let item = message::<R>(ITEM, number);
                    out.send(&item).await.map_err(|_| ended())?;
                }
            }
            UPLOAD => {
                let mut more = info.requests::<Bytes>();
                while let Some(chunk) = more.next().await.map_err(|_| ended())?
                    && parsed::<R>(chunk) != Some((CHUNK, LAST))
                {}
            }
            _ => {}
        }
        Ok(())
    }
}

impl<R: Row, const WAITS: bool> ServerProtocol for MatrixProtocol<R, WAITS> {
    type Framing = R::Framing;
    type Format = Plain;
    type Session = Counted;
    type Request<'a> = &'a [u8];
    type Reply<'a> = Vec<u8>;
    const WAITS: bool = WAITS;

    fn open_session(&self, _info: &ConnectionInfo) -> Counted {
        Counted::new(&self.seen, |seen| &seen.sessions)
    }

    async fn process_request(
        &self,
        context: Context<'_, Counted>,
        request: &[u8],
    ) -> Result<Vec<u8>, Rejection> {
        let info = context.info;
        let Some((command, number)) = parsed::<R>(request) else {
            self.seen.others.fetch_add(1, SeqCst);
            return Ok(message::<R>(0, 0));
        };
        let _running = Counted::new(&self.seen, |seen| &seen.running);
        {
            let mut executed = self.seen.executed.lock().expect("no panic");
            *executed.entry(number).or_default() += 1;
        }
        if WAITS {
            self.converse(info, command).await?;
        }
        let mut reply = message::<R>(command, number);
        let function = || match command {
            HOLD if WAITS => Act::Wait(()),
            PUSH => {
                let event = message::<R>(EVENT, number);
                info.push::<Bytes>()
                    .try_send(&event)
                    .expect("there is room");
                Act::Return(())
            }
            _ => Act::Return(()),
        };
        self.how.process(info, &self.gate, function).await;
        if command == BULK {
            reply.resize(BULK_LEN, b'x');
        }
        Ok(reply)
    }
}

//! A hand-written client whose callers share one stream: replies come in the order of the requests.
//!
//! One buffer of what is to be sent, a slab of slots for what is awaited, and one task, which reads
//! first and then writes all that is queued. It knows no dropped calls: nothing here drops one.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf as _, BytesMut};
use tokio::{io::AsyncWrite as _, net::TcpStream};
use tokio_util::io::poll_read_buf;

use super::hand::put_frame;

/// What callers and the task share.
#[derive(Debug, Default)]
pub struct Shared(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    output: BytesMut,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// The slots of what was sent, in that order.
    awaited: VecDeque<usize>,
    driver: Option<Waker>,
    failure: Option<io::ErrorKind>,
}

#[derive(Debug, Default)]
struct Slot {
    caller: Option<Waker>,
    reply: Vec<u8>,
    is_there: bool,
}

impl Shared {
    /// Starts the task, which ends with the stream.
    pub(super) fn over(stream: TcpStream) -> Arc<Self> {
        let shared = Arc::new(Self::default());
        let driver = Driver {
            stream,
            input: BytesMut::with_capacity(64 * 1024),
            output: BytesMut::new(),
            shared: Arc::clone(&shared),
        };
        tokio::spawn(driver.run());
        shared
    }

    /// Sends the request that `write` appends, and returns what `read` makes of the reply.
    pub(super) async fn call<T>(
        &self,
        write: impl FnOnce(&mut BytesMut),
        read: impl FnOnce(&[u8]) -> T,
    ) -> io::Result<T> {
        let place = {
            let mut state = self.lock();
            put_frame(&mut state.output, write)?;
            let place = state.free.pop().unwrap_or_else(|| {
                state.slots.push(Slot::default());
                state.slots.len() - 1
            });
            state.awaited.push_back(place);
            if let Some(driver) = state.driver.take() {
                driver.wake();
            }
            place
        };
        let mut read = Some(read);
        poll_fn(|context| {
            let mut state = self.lock();
            if let Some(failure) = state.failure {
                return Poll::Ready(Err(failure.into()));
            }
            let slot = &mut state.slots[place];
            if !slot.is_there {
                slot.caller = Some(context.waker().clone());
                return Poll::Pending;
            }
            slot.is_there = false;
            let read = read.take().expect("a call is ready once");
            let value = read(&slot.reply);
            state.free.push(place);
            Poll::Ready(Ok(value))
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Driver {
    stream: TcpStream,
    input: BytesMut,
    output: BytesMut,
    shared: Arc<Shared>,
}

impl Driver {
    async fn run(mut self) {
        let Err(error) = poll_fn(|context| self.drive(context)).await;
        let mut state = self.shared.lock();
        state.failure = Some(error.kind());
        for slot in &mut state.slots {
            if let Some(caller) = slot.caller.take() {
                caller.wake();
            }
        }
    }

    fn drive(&mut self, context: &mut Context<'_>) -> Poll<Result<Never, io::Error>> {
        while let Poll::Ready(count) = self.read(context)? {
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.hand_out();
        }
        loop {
            if self.output.is_empty() {
                let mut state = self.shared.lock();
                if state.output.is_empty() {
                    state.driver = Some(context.waker().clone());
                    return Poll::Pending;
                }
                std::mem::swap(&mut self.output, &mut state.output);
            }
            let stream = Pin::new(&mut self.stream);
            let count = ready!(stream.poll_write(context, &self.output))?;
            self.output.advance(count);
            if self.output.is_empty() {
                self.output.clear();
            }
        }
    }

    fn read(&mut self, context: &mut Context<'_>) -> io::Result<Poll<usize>> {
        self.input.reserve(64 * 1024);
        match poll_read_buf(Pin::new(&mut self.stream), context, &mut self.input) {
            Poll::Ready(outcome) => outcome.map(Poll::Ready),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    /// Puts every complete reply into the slot that awaits it.
    fn hand_out(&mut self) {
        let mut state = self.shared.lock();
        let State { slots, awaited, .. } = &mut *state;
        while let Some((header, rest)) = self.input.split_first_chunk::<4>()
            && let Some(reply) = rest.get(..u32::from_be_bytes(*header) as usize)
            && let Some(place) = awaited.pop_front()
        {
            let slot = &mut slots[place];
            slot.reply.clear();
            slot.reply.extend_from_slice(reply);
            slot.is_there = true;
            if let Some(caller) = slot.caller.take() {
                caller.wake();
            }
            let length = reply.len();
            self.input.advance(4 + length);
        }
    }
}

/// What the task returns unless it fails.
enum Never {}

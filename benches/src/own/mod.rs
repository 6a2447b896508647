//! Systems under their own clients: tasks that call, each waiting for its reply.

mod hand;
mod library;
mod multiplexed;
pub mod pipelined;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use tokio::{
    runtime::Builder,
    sync::Notify,
    task::JoinSet,
    time::{sleep, timeout},
};

pub use hand::Hand;
pub use library::{LASTS, Library};

use crate::{
    cpu::CpuTime,
    load::{Bounds, Outcome, Work},
    message::Typed,
    options::Options,
};

/// A client that can call an echo.
pub trait Caller: Sized + Send + 'static {
    /// Returns `count` callers that share a connection, which is new.
    fn open(
        address: SocketAddr,
        count: usize,
    ) -> impl Future<Output = io::Result<Vec<Self>>> + Send;

    /// Calls, and says whether the reply was the message.
    fn call(&mut self, message: &[u8]) -> impl Future<Output = io::Result<bool>> + Send;

    /// Calls an echo of the typed message, and returns the reply.
    fn call_typed(&mut self, message: Typed) -> impl Future<Output = io::Result<Typed>> + Send {
        drop(message);
        async { Err(io::ErrorKind::Unsupported.into()) }
    }
}

/// Runs a work with a current-thread runtime, with the message that the options name.
///
/// # Errors
///
/// When an option is not known, a call fails, a reply differs from its request, or there were none.
pub fn run<C: Caller>(options: &Options) -> io::Result<Outcome> {
    let message = match options.others.first() {
        None => Message::Letters(vec![b'x'; options.work.size]),
        Some((option, value)) => match (&**option, &**value) {
            ("--message", "typed") => Message::Typed(Typed::sample()),
            _ => return Err(io::Error::other(format!("there is no {option} {value}"))),
        },
    };
    call_for::<C>(options.address, options.work, message, options.bounds)
}

/// Runs a work with a current-thread runtime: a task for each request that is in flight.
///
/// # Errors
///
/// When a call fails, a reply differs from its request, or there were none.
pub fn call_for<C: Caller>(
    address: SocketAddr,
    work: Work,
    message: Message,
    bounds: Bounds,
) -> io::Result<Outcome> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure::<C>(address, work, message, bounds))
}

/// What is called with.
#[derive(Clone, Debug)]
pub enum Message {
    /// Bytes, which are lent to each call.
    Letters(Vec<u8>),
    /// The typed message, of which each call gets its own.
    Typed(Typed),
}

/// What the tasks tell.
struct Told {
    replies: AtomicU64,
    /// At so many replies it is enough.
    enough: AtomicU64,
    is_enough: Notify,
    failure: Mutex<Option<io::Error>>,
}

async fn measure<C: Caller>(
    address: SocketAddr,
    work: Work,
    message: Message,
    bounds: Bounds,
) -> io::Result<Outcome> {
    let told = Arc::new(Told {
        replies: AtomicU64::new(0),
        enough: AtomicU64::new(u64::MAX),
        is_enough: Notify::new(),
        failure: Mutex::new(None),
    });
    let message = Arc::new(message);
    let mut tasks = JoinSet::new();
    for _ in 0..work.connections {
        if work.reconnects {
            tasks.spawn(watched(
                Arc::clone(&told),
                reconnect::<C>(address, Arc::clone(&message), Arc::clone(&told)),
            ));
            continue;
        }
        for caller in C::open(address, work.depth).await? {
            tasks.spawn(watched(
                Arc::clone(&told),
                repeat(caller, Arc::clone(&message), Arc::clone(&told)),
            ));
        }
    }
    sleep(bounds.warm_up).await;
    let (start, own) = (Instant::now(), CpuTime::now());
    let before = told.replies.load(Ordering::Relaxed);
    let enough = before.saturating_add(bounds.requests);
    told.enough.store(enough, Ordering::Relaxed);
    // Too late is no failure: it is the usual end.
    let _ = timeout(bounds.time, told.is_enough.notified()).await;
    let outcome = Outcome {
        requests: told.replies.load(Ordering::Relaxed) - before,
        time: start.elapsed(),
        own: CpuTime::now().since(own),
    };
    tasks.abort_all();
    let failure = told
        .failure
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    match failure {
        Some(error) => Err(error),
        None if outcome.requests == 0 => Err(io::ErrorKind::TimedOut.into()),
        None => Ok(outcome),
    }
}

/// Keeps the failure of a task, of which nobody else would hear.
async fn watched(told: Arc<Told>, task: impl Future<Output = io::Result<()>>) {
    if let Err(error) = task.await {
        *told.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

async fn repeat<C: Caller>(
    mut caller: C,
    message: Arc<Message>,
    told: Arc<Told>,
) -> io::Result<()> {
    loop {
        call(&mut caller, &message, &told).await?;
    }
}

async fn reconnect<C: Caller>(
    address: SocketAddr,
    message: Arc<Message>,
    told: Arc<Told>,
) -> io::Result<()> {
    loop {
        let mut callers = C::open(address, 1).await?;
        for caller in &mut callers {
            call(caller, &message, &told).await?;
        }
    }
}

async fn call<C: Caller>(caller: &mut C, message: &Message, told: &Told) -> io::Result<()> {
    let is_same = match message {
        Message::Letters(letters) => caller.call(letters).await?,
        Message::Typed(typed) => caller.call_typed(typed.clone()).await? == *typed,
    };
    if !is_same {
        return Err(io::Error::other("a reply is not what was sent"));
    }
    let replies = 1 + told.replies.fetch_add(1, Ordering::Relaxed);
    if replies == told.enough.load(Ordering::Relaxed) {
        told.is_enough.notify_one();
    }
    Ok(())
}

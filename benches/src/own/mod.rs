//! Systems under their own clients: tasks that call, each waiting for its reply.

mod hand;
mod library;
mod multiplexed;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use tokio::{runtime::Builder, task::JoinSet, time::sleep};

pub use hand::Hand;
pub use library::Library;

use crate::{
    cpu::CpuTime,
    load::{Bounds, Outcome, Work},
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
}

/// Runs a work with a current-thread runtime: a task for each request that is in flight.
///
/// # Errors
///
/// When a call fails, a reply differs from its request, or there were none.
pub fn run<C: Caller>(address: SocketAddr, work: Work, bounds: Bounds) -> io::Result<Outcome> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure::<C>(address, work, bounds))
}

/// What the tasks tell.
#[derive(Default)]
struct Told {
    replies: AtomicU64,
    failure: Mutex<Option<io::Error>>,
}

async fn measure<C: Caller>(
    address: SocketAddr,
    work: Work,
    bounds: Bounds,
) -> io::Result<Outcome> {
    let told = Arc::new(Told::default());
    let message: Arc<[u8]> = vec![b'x'; work.size].into();
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
    sleep(bounds.time).await;
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

async fn repeat<C: Caller>(mut caller: C, message: Arc<[u8]>, told: Arc<Told>) -> io::Result<()> {
    loop {
        call(&mut caller, &message, &told).await?;
    }
}

async fn reconnect<C: Caller>(
    address: SocketAddr,
    message: Arc<[u8]>,
    told: Arc<Told>,
) -> io::Result<()> {
    loop {
        let mut callers = C::open(address, 1).await?;
        for caller in &mut callers {
            call(caller, &message, &told).await?;
        }
    }
}

async fn call<C: Caller>(caller: &mut C, message: &[u8], told: &Told) -> io::Result<()> {
    if !caller.call(message).await? {
        return Err(io::Error::other("a reply is not what was sent"));
    }
    told.replies.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

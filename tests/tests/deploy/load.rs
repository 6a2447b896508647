//! Clients that send numbered requests without a pause, and account for each.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use tcs_tests::{Heard, RawPeer, code, frame, within};
use tokio::{
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};

/// The connections at a time. Half of them last as long as the server lets them, half for one batch.
const CONNECTIONS: usize = 8;

/// The requests that are sent at once.
const BATCH: usize = 3;

pub(crate) struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

struct Shared {
    server: SocketAddr,
    next: AtomicU64,
    is_stopped: AtomicBool,
    outcome: Mutex<Outcome>,
}

/// What became of the requests.
#[derive(Clone, Default)]
pub(crate) struct Outcome {
    /// The number of each reply, as often as it came.
    pub(crate) replies: Vec<u64>,
    /// How many requests were answered *going away*, were not executed, and were sent again.
    pub(crate) sent_again: usize,
    /// The addresses of the clients.
    pub(crate) clients: Vec<SocketAddr>,
}

impl Load {
    /// Connects those that last first, so that a balancer gives each of its servers one of them.
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let shared = Arc::new(Shared {
            server,
            next: AtomicU64::new(0),
            is_stopped: AtomicBool::new(false),
            outcome: Mutex::default(),
        });
        let mut clients = JoinSet::new();
        for _ in 0..CONNECTIONS / 2 {
            let peer = shared.connect().await;
            clients.spawn(Arc::clone(&shared).client(Some(peer)));
        }
        for _ in 0..CONNECTIONS / 2 {
            clients.spawn(Arc::clone(&shared).client(None));
        }
        Self { shared, clients }
    }

    /// Lets the clients finish, and fails if one has.
    ///
    /// Each request that was sent has had one reply by then, or a client has failed.
    pub(crate) async fn finish(mut self) -> Outcome {
        self.shared.is_stopped.store(true, Relaxed);
        while let Some(client) = within(self.clients.join_next()).await {
            client.expect("a client");
        }
        let mut outcome = self.shared.outcome.lock().expect("nobody panics").clone();
        outcome.replies.sort_unstable();
        let sent: Vec<_> = (0..self.shared.next.load(Relaxed)).collect();
        assert_eq!(outcome.replies, sent, "one reply for each request");
        outcome
    }
}

impl Shared {
    /// Sends batches, all over one connection if it begins with one.
    async fn client(self: Arc<Self>, mut first: Option<RawPeer>) {
        let stays = first.is_some();
        let mut unanswered = VecDeque::new();
        while !self.is_stopped.load(Relaxed) || !unanswered.is_empty() {
            let mut peer = match first.take() {
                Some(peer) => peer,
                None => self.connect().await,
            };
            loop {
                let is_open = self.batch(&mut peer, &mut unanswered).await;
                if !is_open || !stays || self.is_stopped.load(Relaxed) {
                    break;
                }
            }
        }
    }

    async fn connect(&self) -> RawPeer {
        let stream = self.try_connect().await;
        let stream = stream.expect("the connect is not refused");
        let addr = stream.local_addr().expect("it is connected");
        self.outcome().clients.push(addr);
        RawPeer::of(stream)
    }

    async fn try_connect(&self) -> io::Result<TcpStream> {
        within(TcpSocket::new_v4()?.connect(self.server)).await
    }

    fn outcome(&self) -> std::sync::MutexGuard<'_, Outcome> {
        self.outcome.lock().expect("nobody panics")
    }

    /// Sends requests, first those that were sent in vain. Returns `false` when the server has gone away.
    async fn batch(&self, peer: &mut RawPeer, unanswered: &mut VecDeque<u64>) -> bool {
        while unanswered.len() < BATCH {
            unanswered.push_back(self.next.fetch_add(1, Relaxed));
        }
        let frames: Vec<_> = unanswered
            .iter()
            .flat_map(|number| frame(number.to_string()))
            .collect();
        // The server may be gone; then it has said so.
        within(peer.try_send(frames)).await.ok();
        while let Some(number) = unanswered.front() {
            match within(peer.hear()).await {
                Heard::Message(reply) => {
                    let reply = String::from_utf8(reply).expect("text");
                    let start = format!("Hello, {number}");
                    assert!(reply.starts_with(&start), "{reply} instead of {start}");
                    self.outcome().replies.push(*number);
                    unanswered.pop_front();
                }
                Heard::Control(code::GOING_AWAY, _) => {
                    self.outcome().sent_again += unanswered.len();
                    return false;
                }
                other => panic!("request {number} was lost: {other:?}"),
            }
        }
        true
    }
}

/// Fails unless the servers have executed each request once.
#[track_caller]
pub(crate) fn executed_once(mut executed: Vec<u64>, outcome: &Outcome) {
    executed.sort_unstable();
    assert_eq!(executed, outcome.replies, "each request is executed once");
}

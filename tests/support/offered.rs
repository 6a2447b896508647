//! Load that is offered at a rate, whether or not the server keeps up.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpStream, tcp::OwnedReadHalf},
    sync::mpsc,
    task::JoinSet,
    time::interval,
};

use crate::code;

/// How often the requests that are due are sent.
const TICK: Duration = Duration::from_millis(1);
/// The part at the beginning that is not measured: queues are not full yet.
const WARM_UP: Duration = Duration::from_millis(500);
/// How long is measured. The figures of `docs/overload.md` are those of a build with optimization.
const SECONDS: usize = 2;
const MEASURED: Duration = Duration::from_secs(SECONDS as u64);

/// A load, over connections that take turns.
#[derive(Clone, Debug)]
pub struct Offered {
    pub connections: usize,
    /// Requests per second, of all connections together.
    pub rate: u32,
    pub request: Vec<u8>,
}

/// What became of the requests that were answered while it was measured.
#[derive(Debug, Default)]
pub struct Answered {
    /// The times from when a request was due to its reply.
    pub served: Vec<Duration>,
    pub busy: usize,
}

impl Answered {
    /// Returns how many requests were served within this time, per second.
    pub fn served_within(&self, time: Duration) -> usize {
        let in_time = self.served.iter().filter(|served| **served <= time);
        in_time.count() / SECONDS
    }

    pub fn busy_per_second(&self) -> usize {
        self.busy / SECONDS
    }

    /// Returns the time within which this percentage of the served requests was served.
    pub fn percentile(&mut self, percent: usize) -> Duration {
        self.served.sort_unstable();
        let index = self.served.len() * percent / 100;
        self.served.get(index).copied().unwrap_or_default()
    }
}

struct Shared {
    measured: Mutex<Answered>,
    begins: Instant,
    ends: Instant,
}

impl Offered {
    /// Offers the load to a server.
    ///
    /// # Panics
    ///
    /// If a request is answered by anything but its reply or *busy*.
    pub async fn to(&self, server: SocketAddr) -> Answered {
        let began = Instant::now();
        let shared = Arc::new(Shared {
            measured: Mutex::default(),
            begins: began + WARM_UP,
            ends: began + WARM_UP + MEASURED,
        });
        let mut tasks = JoinSet::new();
        let mut senders = Vec::new();
        for _ in 0..self.connections {
            let stream = TcpStream::connect(server).await.expect("it listens");
            stream.set_nodelay(true).expect("TCP has it");
            let (reading, mut writing) = stream.into_split();
            let sent = Arc::<Mutex<VecDeque<Instant>>>::default();
            tasks.spawn(Arc::clone(&shared).receive(reading, Arc::clone(&sent)));
            let (sender, mut due) = mpsc::unbounded_channel();
            senders.push(sender);
            let request = self.request.clone();
            tasks.spawn(async move {
                let mut times = Vec::new();
                while due.recv_many(&mut times, 64).await > 0 {
                    let bytes = request.repeat(times.len());
                    sent.lock().expect("no panic").extend(times.drain(..));
                    if writing.write_all(&bytes).await.is_err() {
                        break;
                    }
                }
            });
        }
        self.send(&senders, &shared).await;
        // What is under way is not measured any more.
        tasks.abort_all();
        while let Some(ended) = tasks.join_next().await {
            assert!(ended.is_ok() || ended.is_err_and(|error| error.is_cancelled()));
        }
        std::mem::take(&mut *shared.measured.lock().expect("no panic"))
    }

    async fn send(&self, senders: &[mpsc::UnboundedSender<Instant>], shared: &Shared) {
        let period = Duration::from_secs(1) / self.rate;
        let mut ticks = interval(TICK);
        let mut due = Instant::now();
        for sender in senders.iter().cycle() {
            while due > Instant::now() {
                ticks.tick().await;
            }
            if due >= shared.ends {
                return;
            }
            // A connection that was closed takes no more.
            sender.send(due).ok();
            due += period;
        }
    }
}

impl Shared {
    async fn receive(self: Arc<Self>, reading: OwnedReadHalf, sent: Arc<Mutex<VecDeque<Instant>>>) {
        let mut reading = BufReader::with_capacity(1 << 16, reading);
        let mut payload = Vec::new();
        while let Ok(length) = reading.read_u32().await {
            payload.resize((length & !(1 << 31)) as usize, 0);
            reading.read_exact(&mut payload).await.expect("a frame");
            let now = Instant::now();
            let due = sent.lock().expect("no panic").pop_front();
            let due = due.expect("a reply answers a request");
            if !(self.begins..self.ends).contains(&now) {
                continue;
            }
            let mut measured = self.measured.lock().expect("no panic");
            if length >> 31 == 0 {
                measured.served.push(now - due);
            } else {
                assert_eq!(payload.first(), Some(&code::BUSY));
                measured.busy += 1;
            }
        }
    }
}

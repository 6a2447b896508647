//! Streams and events whose bytes are lost.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use fastrand::Rng;
use tcs::{
    Channel, ConcurrentServer,
    client::{ChannelEvent, ChannelOptions, ConnectOptions},
    framing::{Framing, Multiplexed},
    protocol::{Push, Replies},
    server_protocol,
};
use tokio::time::{sleep, timeout};
use turmoil::{Sim, net::TcpStream};

use crate::{
    net::{NetListener, OnCall, PORT},
    run::{build, in_thread},
    seeds::{replay_with, share_of_seeds},
};

const ITEMS: u64 = 2_000;
/// When the network is whole again, and what is still to be answered after that.
const WHOLE: Duration = Duration::from_secs(4);

/// What a server knows of its conversations.
#[derive(Clone, Debug, Default)]
struct SharedState {
    running: Arc<AtomicU64>,
    pushes: Arc<Mutex<Vec<Push<Feed>>>>,
}

struct Running(Arc<AtomicU64>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[server_protocol(framing = Multiplexed, replies = &str)]
async fn count(
    to: &str,
    #[state] shared: &SharedState,
    mut out: Replies<'_, Count>,
) -> Result<String, String> {
    shared.running.fetch_add(1, Relaxed);
    let _running = Running(Arc::clone(&shared.running));
    let to: u64 = to.parse().map_err(|_| "no number")?;
    for number in 0..to {
        out.send(&number.to_string()).await?;
        if number % 20 == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    }
    Ok(to.to_string())
}

#[server_protocol(push = &str)]
fn feed(what: &str, #[state] shared: &SharedState, push: Push<Feed>) -> String {
    if what == "join" {
        shared.pushes.lock().expect("no panic").push(push);
    }
    what.to_owned()
}

fn channel<F: Framing>() -> tcs::Result<Channel<F>> {
    let connect = ConnectOptions::new()
        .connect_timeout(Duration::from_millis(500))
        .reply_timeout(Duration::from_secs(1));
    ChannelOptions::over(|| TcpStream::connect(("server", PORT)))
        .connect_options(connect)
        .backoff(Duration::from_millis(50), Duration::from_millis(500))
        .connect_lazily()
}

/// Serves until the host is lost.
async fn serve<P: tcs::protocol::ServerProtocol>(protocol: P) -> turmoil::Result {
    let listener = NetListener::bind(|| [(); 2].map(|()| Box::new(|_| {}) as OnCall)).await?;
    let server = ConcurrentServer::new(protocol)
        .listener(listener)
        .write_timeout(Duration::from_secs(1))
        .half_close_timeout(Duration::from_millis(500))
        .idle_timeout(Duration::from_secs(2));
    server.listen().await?;
    Ok(())
}

/// Runs a simulation in which something happens to the network, at a time of the seed and for a while.
fn run(sim: &mut Sim<'_>, rng: &mut Rng) {
    let from = Duration::from_millis(rng.u64(50..3_000));
    let until = (from + Duration::from_millis(rng.u64(50..2_500))).min(WHOLE);
    let what = rng.u8(..4);
    let (mut is_lost, mut is_whole) = (false, false);
    loop {
        let now = sim.elapsed();
        if now >= from && !is_lost {
            is_lost = true;
            match what {
                0 => sim.partition("client", "server"),
                1 => sim.partition_oneway("server", "client"),
                2 => sim.hold("client", "server"),
                _ => sim.crash("server"),
            }
        }
        if now >= until && !is_whole {
            is_whole = true;
            sim.release("client", "server");
            if what == 3 {
                sim.bounce("server");
            }
        }
        if sim.step().expect("no host fails") {
            return;
        }
    }
}

/// Receives streams until the network is whole, and one after that. Returns how many ended, and how many were complete.
async fn streams(channel: &Channel<Multiplexed>) -> Result<[u64; 2], String> {
    let [mut ended, mut complete] = [0, 0];
    loop {
        let is_whole = turmoil::sim_elapsed().expect("a host") > WHOLE;
        let text = ITEMS.to_string();
        let mut next = 0;
        let received = async {
            let mut items = channel.stream::<Count>(&text).await?;
            while let Some(item) = items.next().await? {
                if item != next.to_string() {
                    return Ok(Err(format!("{item} instead of {next}")));
                }
                next += 1;
            }
            Ok::<_, tcs::Error>(Ok(items.finish().await?))
        };
        // No wait for an item is longer than the reply timeout.
        let received = timeout(Duration::from_secs(12), received).await;
        ended += 1;
        match received.map_err(|_| format!("nothing after {next} items"))? {
            Ok(wrong_or_total) => {
                let total = wrong_or_total?;
                if (total.as_str(), next) != (text.as_str(), ITEMS) {
                    return Err(format!("{total} after {next} items"));
                }
                complete += 1;
                if is_whole {
                    return Ok([ended, complete]);
                }
            }
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
        if ended > 200 {
            return Err(format!("{ended} streams without an end"));
        }
    }
}

#[test]
fn stream_is_complete_or_ends_with_an_error() {
    let (seeds, mut all, mut complete) = (share_of_seeds(8), 0, 0);
    for seed in seeds.clone() {
        let counted = in_thread(seed, move || {
            let mut rng = Rng::with_seed(seed);
            let mut sim = build(&mut rng);
            let shared = SharedState::default();
            let state = shared.clone();
            sim.host("server", move || serve(Count::new(state.clone())));
            let counted = Arc::new(Mutex::new(None));
            let result = Arc::clone(&counted);
            sim.client("client", async move {
                let channel = channel()?;
                let outcome = streams(&channel).await;
                drop(channel);
                // The server finds out that earlier peers are gone.
                for _ in 0..60 {
                    if shared.running.load(Relaxed) > 0 {
                        sleep(Duration::from_millis(100)).await;
                    }
                }
                let left = shared.running.load(Relaxed);
                *result.lock().expect("no panic") = Some((outcome, left));
                Ok(())
            });
            run(&mut sim, &mut rng);
            counted.lock().expect("no panic").take().expect("it ended")
        });
        let (outcome, left) = counted;
        let replay = replay_with(seed);
        assert_eq!(left, 0, "{replay}: functions go on for nobody");
        let [ended, whole] =
            outcome.unwrap_or_else(|wrong| panic!("{}: {wrong}", replay_with(seed)));
        all += ended;
        complete += whole;
    }
    println!("{all} streams, {complete} complete");
    let count = seeds.end - seeds.start;
    // Some were interrupted.
    assert!(count == 1 || complete < all && complete > count);
}

/// Pushes a number to everyone who has joined, again and again.
async fn push_numbers(shared: SharedState, next: Arc<AtomicU64>) {
    loop {
        sleep(Duration::from_millis(15)).await;
        let number = next.fetch_add(1, Relaxed).to_string();
        let mut pushes = shared.pushes.lock().expect("no panic");
        // Those whose queue is full or closed.
        pushes.retain(|push| push.try_send(&number).is_ok());
    }
}

/// Receives events until a second after the network is whole, while calls show whether the server answers. Returns how
/// many events came, and how many connections they came over.
async fn events() -> Result<[u64; 2], String> {
    let channel: Channel = channel().map_err(|error| error.to_string())?;
    let mut events = loop {
        match channel.subscribe::<Feed>("join").await {
            Ok((_, events)) => break events,
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    };
    let caller = channel.clone();
    let calls = tokio::spawn(async move {
        loop {
            caller.call::<Feed>("call").await.ok();
            sleep(Duration::from_millis(100)).await;
        }
    });
    let ([mut received, mut connections], mut last) = ([0, 1], None);
    let end = WHOLE + Duration::from_secs(5);
    let (mut after_all, mut errors) = (0, 0);
    while turmoil::sim_elapsed().expect("a host") < end {
        let Ok(event) = timeout(Duration::from_secs(4), events.next()).await else {
            return Err(format!("no event after {last:?}"));
        };
        match event {
            // The subscription could not be renewed. The next connection follows.
            Err(error) if errors < 5 => {
                errors += 1;
                println!("{error}");
            }
            Err(error) => return Err(error.to_string()),
            Ok(ChannelEvent::Event(number)) => {
                let number: u64 = number.parse().map_err(|_| "no number")?;
                if last.is_some_and(|last| number != last + 1) {
                    return Err(format!("{number} after {last:?}"));
                }
                (last, received) = (Some(number), received + 1);
                after_all += u64::from(
                    turmoil::sim_elapsed().expect("a host") + Duration::from_secs(1) > end,
                );
            }
            Ok(ChannelEvent::Reconnected) => (last, connections) = (None, connections + 1),
            Ok(other) => return Err(format!("{other:?} after {last:?}")),
        }
    }
    calls.abort();
    if after_all < 50 {
        return Err(format!("{after_all} events in the last second"));
    }
    Ok([received, connections])
}

#[test]
fn events_have_no_gap_within_a_connection() {
    let (seeds, mut all, mut connections) = (share_of_seeds(8), 0, 0);
    for seed in seeds.clone() {
        let outcome = in_thread(seed, move || {
            let mut rng = Rng::with_seed(seed);
            let mut sim = build(&mut rng);
            let (shared, next) = (SharedState::default(), Arc::new(AtomicU64::new(0)));
            sim.host("server", move || {
                let (shared, next) = (shared.clone(), Arc::clone(&next));
                async move {
                    let pushing = tokio::spawn(push_numbers(shared.clone(), next));
                    let ended = serve(Feed::new(shared)).await;
                    pushing.abort();
                    ended
                }
            });
            let outcome = Arc::new(Mutex::new(None));
            let result = Arc::clone(&outcome);
            sim.client("client", async move {
                let outcome = events().await;
                *result.lock().expect("no panic") = Some(outcome);
                Ok(())
            });
            run(&mut sim, &mut rng);
            outcome.lock().expect("no panic").take().expect("it ended")
        });
        let [received, over] =
            outcome.unwrap_or_else(|wrong| panic!("{}: {wrong}", replay_with(seed)));
        all += received;
        connections += over;
    }
    println!("{all} events over {connections} connections");
    let count = seeds.end - seeds.start;
    assert!(count == 1 || connections > count && all > 200 * count);
}

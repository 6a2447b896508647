//! What goes wrong in a simulation, and when.

use std::time::Duration;

use fastrand::Rng;

/// The names of the hosts of a simulation.
#[derive(Clone, Debug)]
pub(crate) struct Hosts {
    pub(crate) servers: Vec<String>,
    pub(crate) clients: Vec<String>,
    /// If there is none, clients connect to the servers.
    pub(crate) balancer: Option<String>,
}

impl Hosts {
    /// Returns the pairs that talk to each other.
    pub(crate) fn links(&self) -> Vec<(String, String)> {
        let pairs = |from: &[String], to: &[String]| -> Vec<_> {
            let all = |from: &String| to.iter().map(|to| (from.clone(), to.clone())).collect();
            from.iter().flat_map::<Vec<_>, _>(all).collect()
        };
        match &self.balancer {
            None => pairs(&self.clients, &self.servers),
            Some(balancer) => {
                let balancer = std::slice::from_ref(balancer);
                [
                    pairs(&self.clients, balancer),
                    pairs(balancer, &self.servers),
                ]
                .concat()
            }
        }
    }
}

/// An event, with the hosts that it is about.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// All that is sent between the two is lost.
    Cut(String, String),
    /// What the first sends to the second is lost.
    CutOneWay(String, String),
    /// What is sent between the two waits.
    Hold(String, String),
    /// The end of these three.
    Mend(String, String),
    /// The longest time that a message takes.
    Slow(String, String, Duration),
    /// The process dies, and the peers are told.
    Crash(String),
    /// The machine is gone, and the peers are not told.
    Lose(String),
    /// It starts again.
    Start(String),
    /// The server is drained, and starts again after a while.
    Drain(usize, Duration),
}

/// Returns the events of a simulation that is whole again at `end`, in order.
pub(crate) fn random_events(rng: &mut Rng, hosts: &Hosts, end: Duration) -> Vec<(Duration, Event)> {
    let mut events = Vec::new();
    let links = hosts.links();
    for _ in 0..rng.usize(4..13) {
        let at = millis(rng, 100, end);
        let until = (at + millis(rng, 20, Duration::from_millis(2_500))).min(end);
        let (a, b) = links[rng.usize(..links.len())].clone();
        let mend = Event::Mend(a.clone(), b.clone());
        let lost = match (rng.u8(..4), &hosts.balancer) {
            (0, _) => &hosts.clients[rng.usize(..hosts.clients.len())],
            (1, Some(balancer)) => balancer,
            _ => &hosts.servers[rng.usize(..hosts.servers.len())],
        };
        let (first, second) = match rng.u8(..20) {
            0..3 => (Event::Cut(a, b), Some(mend)),
            3..5 if rng.bool() => (Event::CutOneWay(a, b), Some(mend)),
            3..5 => (Event::CutOneWay(b, a), Some(mend)),
            5..8 => (Event::Hold(a, b), Some(mend)),
            8..10 => (
                Event::Slow(a, b, millis(rng, 20, Duration::from_millis(600))),
                None,
            ),
            10..13 => (Event::Crash(lost.clone()), Some(Event::Start(lost.clone()))),
            13..15 => (Event::Lose(lost.clone()), Some(Event::Start(lost.clone()))),
            _ => {
                let server = rng.usize(..hosts.servers.len());
                let pause = millis(rng, 1, Duration::from_millis(800));
                // The next run listens before the end.
                events.push((
                    at.min(end.saturating_sub(Duration::from_secs(2))),
                    Event::Drain(server, pause),
                ));
                continue;
            }
        };
        events.push((at, first));
        events.extend(second.map(|second| (until, second)));
    }
    // Stable, so that events of the same time keep their order.
    events.sort_by_key(|(at, _)| *at);
    events
}

fn millis(rng: &mut Rng, from: u64, to: Duration) -> Duration {
    let to = u64::try_from(to.as_millis()).expect("seconds");
    Duration::from_millis(rng.u64(from..to))
}

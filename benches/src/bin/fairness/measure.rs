//! How long the requests of one connection, the victim, take while two others flood the server.

use std::{
    io,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use tcs_benches::{cpu::CpuTime, load::Latencies};

use crate::{
    exchange::{call, connect, is_late},
    flooder::Flooder,
};

/// How many connections flood the server.
const FLOODERS: usize = 2;

/// What ends a figure, whichever comes first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How long it takes.
    pub(crate) time: Duration,
    /// How many requests the victim makes, alone and beside the flooders.
    pub(crate) requests: u64,
    /// How many connections are opened beside the flooders.
    pub(crate) connections: u64,
    /// How long the flooders run before anything is measured beside them.
    pub(crate) warm_up: Duration,
}

/// What was measured.
#[derive(Debug)]
pub(crate) struct Fairness {
    /// The victim's requests without flooders.
    pub(crate) alone: Figure,
    /// The victim's requests beside the flooders.
    pub(crate) beside: Figure,
    /// New connections beside the flooders, each with its first request.
    pub(crate) connecting: Figure,
    /// How much processor time this process used per second while the flooders ran.
    pub(crate) cpu: f64,
}

/// How long something took that was done again and again.
#[derive(Debug, Default)]
pub(crate) struct Figure {
    /// How long each took.
    pub(crate) latencies: Latencies,
    /// How many were answered.
    pub(crate) answered: u64,
    /// Whether the last was not answered in time. It is then the longest, which took at least that long.
    pub(crate) is_cut: bool,
}

/// Measures a server that answers an empty message with an empty message.
///
/// # Errors
///
/// When a connection fails, a reply is not empty, or the victim gets no answer while it is alone.
pub(crate) fn fairness(address: SocketAddr, limits: Limits) -> io::Result<Fairness> {
    let Limits {
        requests,
        connections,
        warm_up,
        time,
    } = limits;
    let mut victim = connect(address, time)?;
    let alone = repeat(requests, time, |left| call(&mut victim, left))?;
    if alone.is_cut {
        return Err(io::ErrorKind::TimedOut.into());
    }

    let (start, cpu) = (Instant::now(), CpuTime::now());
    let flooders = (0..FLOODERS)
        .map(|_| Flooder::start(address, time))
        .collect::<io::Result<Vec<_>>>()?;
    thread::sleep(warm_up);
    let beside = repeat(requests, time, |left| call(&mut victim, left))?;
    let connecting = repeat(connections, time, |left| {
        let start = Instant::now();
        let mut stream = connect(address, left)?;
        call(&mut stream, left.saturating_sub(start.elapsed()))
    })?;

    let seconds = start.elapsed().as_secs_f64();
    let cpu = CpuTime::now().since(cpu).running.as_secs_f64() / seconds;
    flooders.into_iter().try_for_each(Flooder::stop)?;
    Ok(Fairness {
        alone,
        beside,
        connecting,
        cpu,
    })
}

/// Does something `count` times, one after the other, each within what is left of `time`.
fn repeat(
    count: u64,
    time: Duration,
    mut once: impl FnMut(Duration) -> io::Result<()>,
) -> io::Result<Figure> {
    let mut figure = Figure::default();
    let deadline = Instant::now() + time;
    while figure.answered < count {
        let start = Instant::now();
        let left = deadline.saturating_duration_since(start);
        if left.is_zero() {
            break;
        }
        let outcome = once(left);
        let took = start.elapsed();
        match outcome {
            Ok(()) => figure.answered += 1,
            Err(error) if is_late(&error) => {
                // One that began just before the deadline says nothing.
                figure.is_cut = took > figure.latencies.longest();
                if figure.is_cut {
                    figure.latencies.add(took);
                }
                break;
            }
            Err(error) => return Err(error),
        }
        figure.latencies.add(took);
    }
    Ok(figure)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tcs_benches::servers;

    use super::*;

    const LIMITS: Limits = Limits {
        time: Duration::from_secs(10),
        requests: 20,
        connections: 3,
        warm_up: Duration::ZERO,
    };

    #[test]
    fn server_with_a_free_thread_answers_everything() {
        let (announce, announced) = mpsc::channel();
        thread::spawn(move || {
            let announce = move |address| announce.send(address).expect("the test waits");
            // A thread for each flooder, and one for the victim.
            servers::run("l1b", 0, 3, Box::new(announce))
        });
        let address = announced.recv_timeout(LIMITS.time).expect("it listens");
        let found = fairness(address, LIMITS).expect("it is answered");
        for (figure, count) in [
            (&found.alone, LIMITS.requests),
            (&found.beside, LIMITS.requests),
            (&found.connecting, LIMITS.connections),
        ] {
            assert_eq!((figure.answered, figure.is_cut), (count, false));
            assert!(figure.latencies.longest() > Duration::ZERO);
        }
    }

    #[test]
    fn answer_that_does_not_come_is_the_longest() {
        let time = Duration::from_millis(50);
        let mut answers = 0;
        let figure = repeat(5, time, |left| {
            answers += 1;
            if answers < 3 {
                return Ok(());
            }
            thread::sleep(left);
            Err(io::ErrorKind::WouldBlock.into())
        })
        .expect("being late is no error");
        assert_eq!((figure.answered, figure.is_cut), (2, true));
        assert!(figure.latencies.longest() >= time / 2);
    }

    #[test]
    fn connection_that_fails_ends_the_measurement() {
        let failure = repeat(5, LIMITS.time, |_| Err(io::ErrorKind::BrokenPipe.into()));
        assert_eq!(
            failure.expect_err("it failed").kind(),
            io::ErrorKind::BrokenPipe
        );
    }
}

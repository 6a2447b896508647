//! Keeps the connections of a work busy until its time or its requests are over.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token};
use rustls::ClientConfig;

use super::{
    Latencies, Work,
    connection::Connection,
    pattern::{CHUNK, Pattern, Wire},
};
use crate::{cpu::CpuTime, tls::client_config};

/// How long a server may say nothing at all.
const SILENCE: Duration = Duration::from_secs(10);

/// What ends a run, whichever comes first.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How long it goes on before anything is counted.
    pub warm_up: Duration,
    /// How long is counted.
    pub time: Duration,
    /// How many replies are counted.
    pub requests: u64,
}

/// What was counted.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// How many replies came.
    pub requests: u64,
    /// In what time.
    pub time: Duration,
    /// How much the generator itself was running, and how much it waited for its core.
    pub own: CpuTime,
}

/// Runs a work, in which each message is `message`, or as many letters as the work says.
///
/// # Errors
///
/// When a connection fails, a reply differs from its request, or nothing arrives for ten seconds.
pub fn run(
    address: SocketAddr,
    wire: Wire,
    work: Work,
    message: Option<&[u8]>,
    bounds: Bounds,
) -> io::Result<Outcome> {
    Generator::new(address, wire, work, message, None)?.go_on(bounds)
}

/// Does the same, and notes how long each reply took, from when its request was to be sent.
///
/// # Errors
///
/// As [`run`].
pub fn timed(
    address: SocketAddr,
    wire: Wire,
    work: Work,
    message: Option<&[u8]>,
    bounds: Bounds,
) -> io::Result<(Outcome, Latencies)> {
    let latencies = Some(Latencies::default());
    let mut generator = Generator::new(address, wire, work, message, latencies)?;
    let outcome = generator.go_on(bounds)?;
    Ok((outcome, generator.latencies.unwrap_or_default()))
}

struct Generator {
    poll: Poll,
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    work: Work,
    request: Pattern,
    reply: Pattern,
    connections: Vec<Connection>,
    opened: usize,
    buffer: Vec<u8>,
    /// Where somebody wants to know.
    latencies: Option<Latencies>,
}

impl Generator {
    fn new(
        address: SocketAddr,
        wire: Wire,
        work: Work,
        message: Option<&[u8]>,
        latencies: Option<Latencies>,
    ) -> io::Result<Self> {
        let letters = vec![b'x'; work.size];
        let (request, reply) = wire.patterns(message.unwrap_or(&letters), address)?;
        let mut generator = Self {
            poll: Poll::new()?,
            address,
            tls: (wire == Wire::Tls).then(client_config).transpose()?,
            work,
            request,
            reply,
            connections: Vec::new(),
            opened: 0,
            buffer: vec![0; CHUNK],
            latencies,
        };
        for place in 0..work.connections {
            let connection = generator.open(place)?;
            generator.connections.push(connection);
        }
        Ok(generator)
    }

    fn go_on(&mut self, bounds: Bounds) -> io::Result<Outcome> {
        let mut events = Events::with_capacity(1024);
        let mut start = Instant::now();
        let mut own = CpuTime::now();
        let mut warm = bounds.warm_up.is_zero();
        let mut replies = 0;
        loop {
            match self.poll.poll(&mut events, Some(SILENCE)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                outcome => outcome?,
            }
            if events.is_empty() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            for event in &events {
                replies += self.serve(event.token().0)?;
            }
            let now = Instant::now();
            if warm {
                if now - start >= bounds.time || replies >= bounds.requests {
                    return Ok(Outcome {
                        requests: replies,
                        time: now - start,
                        own: CpuTime::now().since(own),
                    });
                }
            } else if now - start >= bounds.warm_up {
                (warm, replies, start, own) = (true, 0, now, CpuTime::now());
                if let Some(latencies) = &mut self.latencies {
                    latencies.clear();
                }
            }
        }
    }

    /// Does what the connection is ready for, and returns how many replies came.
    fn serve(&mut self, place: usize) -> io::Result<u64> {
        let connection = &mut self.connections[place];
        connection.send(&self.request)?;
        let replies = connection.receive(&self.reply, &mut self.buffer)?;
        if replies > 0 {
            if let Some(latencies) = &mut self.latencies {
                let now = Instant::now();
                connection.answered(replies, now, |asked| latencies.add(now - asked));
            }
            if self.work.reconnects {
                let next = self.open(place)?;
                // The old one closes here.
                self.connections[place] = next;
            } else {
                connection.ask(replies);
                connection.send(&self.request)?;
            }
        }
        u64::try_from(replies).map_err(io::Error::other)
    }

    fn open(&mut self, place: usize) -> io::Result<Connection> {
        let (number, depth) = (self.opened, self.work.depth);
        self.opened += 1;
        let tls = self.tls.as_ref();
        let mut connection = Connection::open(self.address, tls, number, &self.request, depth)?;
        if self.latencies.is_some() {
            connection.remember(depth);
        }
        self.poll.registry().register(
            connection.stream.socket(),
            Token(place),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        Ok(connection)
    }
}

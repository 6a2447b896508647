//! Calls that wait for nothing and for a timer, streams, and pushes, each over one connection with the library's own
//! client, beside tarpc and tonic with theirs: `conversations [SECONDS]`. Prints tables.
//!
//! Each server is a process with one thread, which this program starts as `conversations serve NAME`. The client is this
//! process, with one thread as well.

use std::{
    alloc::System,
    env,
    error::Error,
    io::{self, BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tcs_benches::cpu::CpuTime;
use tokio::runtime::{Builder, Runtime};

mod calls;
mod pushes;
mod servers;
mod streams;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    match arguments.next().as_deref() {
        Some("serve") => servers::serve(&arguments.next().unwrap_or_default()),
        seconds => {
            let seconds = seconds.map_or(Ok(2.0), str::parse)?;
            let time = Duration::try_from_secs_f64(seconds)?;
            calls::print(time)?;
            streams::print(time)?;
            pushes::print()
        }
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// A server in a process of its own.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(name: &str) -> Result<Self, Box<dyn Error>> {
        let mut process = Command::new(env::current_exe()?)
            .args(["serve", name])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let output = process.stdout.take().ok_or("the output is piped")?;
        BufReader::new(output).read_line(&mut line)?;
        Ok(Self {
            process,
            address: line.trim().parse()?,
        })
    }

    /// Returns the processor time of its only thread.
    fn cpu(&self) -> io::Result<Duration> {
        let path = format!("/proc/{}/schedstat", self.process.id());
        let text = std::fs::read_to_string(path)?;
        let nanoseconds = text.split(' ').next().unwrap_or_default().parse();
        Ok(Duration::from_nanos(nanoseconds.map_err(io::Error::other)?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has no end of its own.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// What was used since a moment.
struct Meter<'a> {
    server: &'a Server,
    began: Instant,
    server_cpu: Duration,
    client_cpu: CpuTime,
    allocations: usize,
}

/// What one of a number of calls, items or pushes costs.
struct Cost {
    per_second: f64,
    client_nanos: f64,
    server_nanos: f64,
    allocations: f64,
}

impl<'a> Meter<'a> {
    fn start(server: &'a Server) -> io::Result<Self> {
        Ok(Self {
            server,
            began: Instant::now(),
            server_cpu: server.cpu()?,
            client_cpu: CpuTime::now(),
            allocations: ALLOCATOR.stats().allocations,
        })
    }

    fn stop(self, count: u64) -> io::Result<Cost> {
        let time = self.began.elapsed();
        let client = CpuTime::now().since(self.client_cpu).running;
        let server = self.server.cpu()? - self.server_cpu;
        let allocations = ALLOCATOR.stats().allocations - self.allocations;
        #[expect(clippy::cast_precision_loss, reason = "they are far below 2^52")]
        let (count, allocations) = (count as f64, allocations as f64);
        Ok(Cost {
            per_second: count / time.as_secs_f64(),
            client_nanos: client.as_secs_f64() * 1e9 / count,
            server_nanos: server.as_secs_f64() * 1e9 / count,
            allocations: allocations / count,
        })
    }
}

//! Restart without downtime: the listening socket outlives the processes that serve it.
//!
//! ```text
//! cargo run -p tcs-examples --features systemd --example upgrade
//! ```
//!
//! The program that you start is a supervisor. It listens on 127.0.0.1:1234, or at the address that you give it, and
//! starts itself again as a worker, which gets the socket and serves. It prints its process id, and that of each worker.
//!
//! Try: in a second terminal, send one request after the other:
//!
//! ```text
//! while python3 examples/client.py 1234 Ann; do sleep 0.1; done
//! ```
//!
//! and in a third one, replace the worker:
//!
//! ```text
//! kill -HUP SUPERVISOR
//! ```
//!
//! The new worker serves as soon as it is ready; the old one finishes its requests and exits. No connection is
//! refused, because the socket stays open. The supervisor starts the program that is then at its path, so this also
//! deploys a new version. If the new worker fails to start, the old one goes on. If a worker crashes, a new one is
//! started. Ctrl-C or SIGTERM ends all. Do not end the supervisor with `kill -9`: its workers then go on and keep the
//! port, until you end them too.
//!
//! The worker also runs under systemd: the supervisor passes the socket (`LISTEN_FDS`) and waits for `READY=1`, as
//! systemd does.

use std::{
    convert::Infallible,
    env, fs, io,
    net::TcpListener,
    os::fd::OwnedFd,
    path::PathBuf,
    process::{self, ExitStatus},
    time::Duration,
};

use tcs::{ConcurrentServer, server_protocol, transport};
use tokio::{
    net::UnixDatagram,
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

/// How long a new worker may take to be ready.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A worker that has ended is replaced at once, but not more often than this.
const RESTART_INTERVAL: Duration = Duration::from_secs(1);

#[server_protocol]
async fn greet(name: &str) -> String {
    let worker = process::id();
    println!("worker {worker} greets {name}");
    tokio::time::sleep(Duration::from_millis(10)).await;
    format!("Hello, {name}! I am worker {worker}.")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    match env::args().nth(1).as_deref() {
        Some("worker") => Ok(serve().await?),
        address => Ok(supervise(address.unwrap_or("127.0.0.1:1234")).await?),
    }
}

/// Serves the sockets that this process was started with, until a signal.
async fn serve() -> tcs::Result<()> {
    let mut server = ConcurrentServer::new(Greet).notify_systemd();
    for socket in transport::systemd_sockets()? {
        server = server.listener(socket);
    }
    server.listen_until_signal().await?;
    Ok(())
}

async fn supervise(address: &str) -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut supervisor = Supervisor::listen(address)?;
    let addr = supervisor.listener.local_addr()?;
    println!("supervisor {} listens on {addr}", process::id());
    tokio::select! {
        Err(error) = supervisor.keep_serving() => return Err(error),
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    supervisor.stop_worker();
    while supervisor.stopping.join_next().await.is_some() {}
    Ok(())
}

struct Supervisor {
    program: PathBuf,
    listener: TcpListener,
    notifications: UnixDatagram,
    notify_path: PathBuf,
    /// The worker that serves.
    worker: Option<Child>,
    /// The workers that finish their requests.
    stopping: JoinSet<io::Result<ExitStatus>>,
}

impl Supervisor {
    fn listen(address: &str) -> io::Result<Self> {
        let notify_path = env::temp_dir().join(format!("tcs-upgrade-{}.sock", process::id()));
        Ok(Self {
            // Resolved once, because a running program does not have this path any more when it is replaced.
            program: env::current_exe()?,
            listener: TcpListener::bind(address)?,
            notifications: UnixDatagram::bind(&notify_path)?,
            notify_path,
            worker: None,
            stopping: JoinSet::new(),
        })
    }

    /// Starts a worker, and the next one at SIGHUP or when it has ended. An error says that the first one is not ready.
    ///
    /// If the future is dropped, the worker that serves goes on, and a new one that is not ready is killed.
    async fn keep_serving(&mut self) -> io::Result<Infallible> {
        let mut hang_up = signal(SignalKind::hangup())?;
        loop {
            let started = Instant::now();
            match self.start().await {
                Ok(new) => {
                    self.stop_worker();
                    self.worker = Some(new);
                }
                Err(error) if self.worker.is_none() => return Err(error),
                Err(error) => println!("the worker is not replaced: {error}"),
            }
            let Some(worker) = &mut self.worker else {
                continue;
            };
            tokio::select! {
                _ = hang_up.recv() => {}
                status = worker.wait() => {
                    println!("the worker has ended: {}", status?);
                    sleep_until(started + RESTART_INTERVAL).await;
                }
            }
        }
    }

    /// Tells the worker to finish its requests and exit.
    fn stop_worker(&mut self) {
        while self.stopping.try_join_next().is_some() {}
        if let Some(mut worker) = self.worker.take() {
            // A task of its own, so that no signal interrupts it: a worker that is dropped is killed.
            self.stopping.spawn(async move {
                terminate(&worker).await?;
                worker.wait().await
            });
        }
    }

    /// Starts a worker and waits until it is ready.
    async fn start(&self) -> io::Result<Child> {
        // What a worker has sent that was not waited for any more must not count for this one.
        while self.notifications.try_recv(&mut [0; 1024]).is_ok() {}
        let mut worker = Command::new(&self.program)
            .arg("worker")
            // Descriptor 0 is the one that a parent can pass without `unsafe`.
            .stdin(OwnedFd::from(self.listener.try_clone()?))
            .env("LISTEN_FDS", "1")
            .env("LISTEN_FDS_FIRST_FD", "0")
            .env("NOTIFY_SOCKET", &self.notify_path)
            // Ctrl-C goes to all processes of the group. A worker would take the SIGTERM after it for the second
            // signal, which ends it at once.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let ready = tokio::select! {
            ready = timeout(START_TIMEOUT, is_ready(&self.notifications)) => ready?,
            status = worker.wait() => Err(io::Error::other(format!("it has ended: {}", status?))),
        };
        ready?;
        println!("worker {} is ready", worker.id().unwrap_or_default());
        Ok(worker)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // A file that is left does no harm: the next supervisor has another process id.
        drop(fs::remove_file(&self.notify_path));
    }
}

/// Waits for `READY=1`. The other notification, `STOPPING=1`, comes from the worker before.
async fn is_ready(notifications: &UnixDatagram) -> io::Result<()> {
    let mut message = [0; 1024];
    loop {
        let len = notifications.recv(&mut message).await?;
        if message[..len].starts_with(b"READY=1") {
            return Ok(());
        }
    }
}

/// Sends SIGTERM, at which a worker drains and exits.
async fn terminate(worker: &Child) -> io::Result<()> {
    if let Some(id) = worker.id() {
        // The standard library sends no other signal than SIGKILL.
        let script = format!("kill -TERM {id}");
        Command::new("sh").args(["-c", &script]).status().await?;
    }
    Ok(())
}

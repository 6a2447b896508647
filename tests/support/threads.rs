//! Servers with a runtime of their own, and peers that block their threads.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tcs::{
    protocol::ServerProtocol,
    server::{Mode, Report, Server, ServerHandle},
    testing::LeakCheck,
};
use tokio::runtime::Builder;

use crate::{LIMIT, nothing_is_left};

/// A server on a runtime of its own.
#[derive(Debug)]
pub struct Apart {
    addr: SocketAddr,
    handle: ServerHandle,
    thread: JoinHandle<tcs::Result<Report>>,
}

/// Starts a server at a free port, on a runtime with two worker threads.
pub fn apart<P: ServerProtocol, M: Mode>(server: Server<P, M>) -> Apart {
    apart_on(2, server)
}

/// Starts a server at a free port, on a runtime with this number of worker threads.
pub fn apart_on<P: ServerProtocol, M: Mode>(workers: usize, server: Server<P, M>) -> Apart {
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || {
        let runtime = Builder::new_multi_thread()
            .worker_threads(workers)
            .enable_all()
            .build()
            .expect("a runtime");
        let report = runtime.block_on(async {
            let bound = server.port(0).bind().await.expect("a free port");
            tell.send((bound.local_addr(), bound.handle()))
                .expect("the test waits");
            let leaks = LeakCheck::new();
            let report = bound.listen().await;
            // The runtime has no other tasks than those of the server.
            leaks.assert_none().await;
            report
        });
        runtime.shutdown_background();
        report
    });
    let (addr, handle) = told.recv_timeout(LIMIT).expect("it listens");
    Apart {
        addr,
        handle,
        thread,
    }
}

impl Apart {
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Connects a peer whose reads have a limit.
    pub fn peer(&self) -> TcpStream {
        let peer = TcpStream::connect(self.addr).expect("it listens");
        peer.set_nodelay(true).expect("TCP has it");
        peer.set_read_timeout(Some(LIMIT)).expect("a timeout");
        peer
    }

    /// Stops the server; returns how long it listened still.
    pub fn stop(&self) -> Duration {
        let began = Instant::now();
        self.handle.stop();
        while TcpStream::connect(self.addr).is_ok() {
            assert!(began.elapsed() < LIMIT, "it listens still");
        }
        began.elapsed()
    }

    /// Waits until the server returns, which has aborted no connection.
    pub fn finished(self) -> Report {
        let report = self.finished_after_aborts();
        assert_eq!(report.connections.aborted, 0, "{report}");
        report
    }

    /// Waits until the server returns, whose peers may have gone away at any time.
    pub fn finished_after_aborts(self) -> Report {
        let report = joined(self.thread).expect("no error");
        nothing_is_left(&report, &self.handle, report.connections.aborted);
        report
    }
}

/// Waits until a thread has ended without a panic, and fails with the caller's line when that takes too long.
#[track_caller]
pub fn joined<T: Send + 'static>(thread: JoinHandle<T>) -> T {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(thread.join()));
    let ended = told.recv_timeout(LIMIT).expect("it ends in time");
    ended.expect("no panic")
}

/// Sends a request and waits for a reply of this many bytes; returns how long that took.
pub fn exchange(peer: &mut TcpStream, request: &[u8], reply: usize) -> Duration {
    let began = Instant::now();
    peer.write_all(request).expect("it is open");
    let mut bytes = [0; 256];
    peer.read_exact(&mut bytes[..reply]).expect("a reply");
    began.elapsed()
}

/// A peer that sends requests as fast as their replies are read, on threads of its own.
#[derive(Debug)]
pub struct Flooder {
    sending: JoinHandle<()>,
    receiving: JoinHandle<()>,
}

impl Flooder {
    /// Begins, and waits for the first reply.
    pub fn start(mut peer: TcpStream, request: &[u8]) -> Self {
        let requests = request.repeat(4_096 / request.len() + 1);
        let mut writing = peer.try_clone().expect("a descriptor");
        let (tell, told) = mpsc::channel();
        let sending = thread::spawn(move || while writing.write_all(&requests).is_ok() {});
        let receiving = thread::spawn(move || {
            let mut replies = vec![0; 1 << 16];
            while let Ok(1..) = peer.read(&mut replies) {
                // Nobody listens behind the first.
                let _sent = tell.send(());
            }
        });
        told.recv_timeout(LIMIT).expect("a first reply");
        Self { sending, receiving }
    }

    /// Waits until the server has closed the connection.
    pub fn finished(self) {
        joined(self.receiving);
        joined(self.sending);
    }
}

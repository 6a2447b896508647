//! The kit for tests finds known faults: in a server without this library, and in a client.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};

use tcs::{
    Execution,
    framing::Lines,
    server_protocol,
    testing::{Pipe, TestServer, WireTest, cut_client_everywhere},
};
use tcs_tests::panic_text;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufWriter, WriteHalf},
    task::yield_now,
    time::{sleep, timeout},
};

/// A fault of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// Waits for the rest of a request without a waker.
    LostWakeUp,
    /// Replies twice to the last of several requests that have come together.
    DoubleReply,
    /// Sends the replies when the peer closes.
    MissingFlush,
    /// Rejects a request of exactly the maximum length.
    OffByOneLimit,
    /// Goes on after an error of the stream.
    SwallowedReset,
    /// Counts a session as open if its connection was reset.
    SessionLeak,
    /// Answers only the first of several requests that have come together.
    DroppedPipelinedRequest,
    /// Answers requests that have come together in the reverse order.
    ReplyToTheWrongRequest,
    /// Keeps its buffer if it has a part of a request.
    BufferKept,
    /// Takes what one read returns as a request.
    PartialReadAsWhole,
    /// Decodes what one read returns as text.
    CutUtf8,
    /// Drops the replies if the end of input is already there.
    HalfCloseAsReset,
    /// Executes what is there at the end of input.
    IncompleteRequestExecuted,
    /// Executes a request before all of it is there.
    RequestExecutedEarly,
    /// Drops what one write does not take.
    PartialWrite,
    /// Leaves a task for each connection.
    TaskLeft,
    /// Reads the end again and again.
    Spinning,
    /// Waits for a silent peer for ever.
    NoIdleTimeout,
    /// Waits for a peer that does not read for ever.
    NoWriteTimeout,
    /// Reads with a lock that all connections share.
    HeadOfLineBlocking,
    /// Begins with what is left of another connection.
    LeftoverOfAnotherConnection,
    /// Greets a peer that says nothing for a while.
    LateGreeting,
    /// Panics at a request that is no number.
    PanicAtInvalidRequest,
    /// Executes a request again whose reply could not be sent at once.
    ExecutedTwice,
}

const IDLE_TIMEOUT: Duration = Duration::from_mins(5);
const LATE: Duration = Duration::from_millis(200);
const MAX_LINE_LEN: usize = 8;

type Writing = BufWriter<WriteHalf<Pipe>>;

/// A server of lines, `NAME NUMBER`, which replies with the name and the sum of the numbers of its connection.
struct Server {
    fault: Fault,
    executed: AtomicUsize,
    sessions: AtomicUsize,
    buffers: AtomicUsize,
    leftover: Mutex<Vec<u8>>,
    lock: tokio::sync::Mutex<()>,
}

impl Server {
    fn new(fault: Fault) -> Arc<Self> {
        Arc::new(Self {
            fault,
            executed: AtomicUsize::new(0),
            sessions: AtomicUsize::new(0),
            buffers: AtomicUsize::new(0),
            leftover: Mutex::default(),
            lock: tokio::sync::Mutex::default(),
        })
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    async fn serve(self: Arc<Self>, stream: Pipe) {
        self.sessions.fetch_add(1, SeqCst);
        self.buffers.fetch_add(1, SeqCst);
        if self.has(Fault::TaskLeft) {
            tokio::spawn(std::future::pending::<()>());
        }
        let mut received = Vec::new();
        if self.has(Fault::LeftoverOfAnotherConnection) {
            received = std::mem::take(&mut *self.leftover.lock().expect("no panic"));
        }
        let result = self.converse(stream, &mut received).await;
        if !(self.has(Fault::SessionLeak) && result.is_err()) {
            self.sessions.fetch_sub(1, SeqCst);
        }
        if !self.has(Fault::BufferKept) || received.is_empty() {
            self.buffers.fetch_sub(1, SeqCst);
        }
        *self.leftover.lock().expect("no panic") = received;
    }

    async fn converse(&self, stream: Pipe, received: &mut Vec<u8>) -> io::Result<()> {
        let (mut reading, writing) = tokio::io::split(stream);
        let mut writing = BufWriter::new(writing);
        let (mut sum, mut is_first) = (0, true);
        loop {
            let mut replies = Vec::new();
            while let Some(line) = self.take_line(received) {
                replies.push(self.execute(&line, &mut sum));
                if self.has(Fault::DroppedPipelinedRequest) {
                    received.clear();
                }
            }
            if replies.len() > 1 && self.has(Fault::DoubleReply) {
                replies.extend(replies.last().cloned());
            }
            if self.has(Fault::ReplyToTheWrongRequest) {
                replies.reverse();
            }
            if self.has(Fault::HalfCloseAsReset)
                && !replies.is_empty()
                && let Ok(Ok(0)) = timeout(Duration::ZERO, reading.read_buf(received)).await
            {
                return Ok(());
            }
            self.send(&mut writing, &replies.concat()).await?;
            let lock = self.has(Fault::HeadOfLineBlocking);
            let lock = if lock {
                Some(self.lock.lock().await)
            } else {
                None
            };
            let mut piece = Vec::new();
            if self.has(Fault::LateGreeting) && is_first {
                is_first = false;
                if let Ok(read) = timeout(LATE, reading.read_buf(received)).await {
                    read?;
                } else {
                    writing.write_all(b"hello?\n").await?;
                    writing.flush().await?;
                }
                continue;
            }
            let limit = if self.has(Fault::NoIdleTimeout) {
                Duration::MAX
            } else {
                IDLE_TIMEOUT
            };
            let count = match timeout(limit, reading.read_buf(&mut piece)).await? {
                Err(_) if self.has(Fault::SwallowedReset) => {
                    sleep(Duration::from_secs(1)).await;
                    continue;
                }
                result => result?,
            };
            drop(lock);
            if self.has(Fault::CutUtf8) {
                piece = String::from_utf8_lossy(&piece).into_owned().into_bytes();
            }
            received.append(&mut piece);
            if count == 0 && !received.is_empty() {
                if self.has(Fault::Spinning) {
                    yield_now().await;
                    continue;
                }
                if self.has(Fault::IncompleteRequestExecuted) {
                    let reply = self.execute(received, &mut sum);
                    writing.write_all(&reply).await?;
                }
            }
            if count == 0 {
                writing.flush().await?;
                writing.shutdown().await?;
                return Ok(());
            }
            if self.has(Fault::LostWakeUp) && !received.contains(&b'\n') {
                let mut was_polled = false;
                std::future::poll_fn(|_| {
                    let polled = if was_polled {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    };
                    was_polled = true;
                    polled
                })
                .await;
            }
        }
    }

    async fn send(&self, writing: &mut Writing, replies: &[u8]) -> io::Result<()> {
        if replies.is_empty() {
            return Ok(());
        }
        let sending = async {
            if self.has(Fault::PartialWrite) {
                // Without the buffer, as if it was full.
                let count = writing.get_mut().write(replies).await?;
                assert!(count > 0);
            } else {
                writing.write_all(replies).await?;
            }
            if self.has(Fault::MissingFlush) {
                return Ok(());
            }
            writing.flush().await
        };
        let limit = match self.fault {
            Fault::NoWriteTimeout => Duration::MAX,
            Fault::ExecutedTwice => Duration::from_secs(1),
            _ => IDLE_TIMEOUT,
        };
        let sent = timeout(limit, sending).await;
        if sent.is_err() && self.has(Fault::ExecutedTwice) {
            self.executed.fetch_add(1, SeqCst);
        }
        sent?
    }

    /// Removes the first complete line.
    fn take_line(&self, received: &mut Vec<u8>) -> Option<Vec<u8>> {
        if self.has(Fault::PartialReadAsWhole) && !received.is_empty() {
            let whole = std::mem::take(received);
            return Some(whole.strip_suffix(b"\n").unwrap_or(&whole).to_vec());
        }
        let Some(end) = received.iter().position(|byte| *byte == b'\n') else {
            if self.has(Fault::RequestExecutedEarly) && received.len() == MAX_LINE_LEN {
                self.executed.fetch_add(1, SeqCst);
            }
            return None;
        };
        let line = received.drain(..=end).collect::<Vec<_>>();
        Some(line[..end].to_vec())
    }

    fn execute(&self, line: &[u8], sum: &mut u32) -> Vec<u8> {
        self.executed.fetch_add(1, SeqCst);
        let limit = MAX_LINE_LEN - usize::from(self.has(Fault::OffByOneLimit));
        if line.len() > limit {
            return b"too long\n".to_vec();
        }
        let line = String::from_utf8_lossy(line);
        let Some((name, number)) = line.split_once(' ') else {
            return b"no name\n".to_vec();
        };
        let Ok(number) = number.parse::<u32>() else {
            assert!(!self.has(Fault::PanicAtInvalidRequest), "no number");
            return b"no number\n".to_vec();
        };
        *sum += number;
        format!("{name} {sum}\n").into_bytes()
    }
}

/// What the test of such a server is, for a user of the kit.
fn check(fault: Fault) {
    let server = Server::new(fault);
    let [one, two, three, four] = std::array::from_fn(|_| Arc::clone(&server));
    WireTest::new()
        .exchange("Zoë 12\n", "Zoë 12\n")
        .exchange("Bob 1\n", "Bob 13\n")
        .exchange("Bob x\n", "no number\n")
        .exchange("Carol 22\n", "Carol 35\n") // the longest
        .exchange("Carol 333\n", "too long\n")
        .executed(move || one.executed.load(SeqCst))
        .count("sessions", move || two.sessions.load(SeqCst))
        .count("buffers", move || three.buffers.load(SeqCst))
        .check(move |stream| Arc::clone(&four).serve(stream));
}

/// Each fault, with a part of what the kit says of it.
const FAULTS: &[(Fault, &str)] = &[
    (Fault::LostWakeUp, "byte by byte: step 2"),
    (Fault::DoubleReply, "all at once"),
    (Fault::MissingFlush, "one by one: step 2"),
    (Fault::OffByOneLimit, "received: `too long"),
    (Fault::SwallowedReset, "the server has not ended"),
    (Fault::SessionLeak, "sessions after the connection"),
    (Fault::DroppedPipelinedRequest, "all at once"),
    (Fault::ReplyToTheWrongRequest, "all at once"),
    (Fault::BufferKept, "buffers after the connection"),
    (Fault::PartialReadAsWhole, "byte by byte"),
    (Fault::CutUtf8, "byte by byte"),
    (Fault::HalfCloseAsReset, "all at once, and the end"),
    (Fault::IncompleteRequestExecuted, "of the requests"),
    (Fault::RequestExecutedEarly, "requests were executed"),
    (Fault::PartialWrite, "through a pipe of one byte"),
    (Fault::TaskLeft, "tasks are left over"),
    (Fault::Spinning, "the server does not wait"),
    (Fault::NoIdleTimeout, "Stall after"),
    (Fault::NoWriteTimeout, "a peer that does not read"),
    (Fault::HeadOfLineBlocking, "in the middle of a request"),
    (Fault::LeftoverOfAnotherConnection, "of the requests"),
    (
        Fault::LateGreeting,
        "a peer that says nothing: the server says `hello?",
    ),
    (Fault::PanicAtInvalidRequest, "no number"),
    (
        Fault::ExecutedTwice,
        "a peer that does not read: 2 requests",
    ),
];

/// Returns what the kit says of a test that fails.
fn failure(test: impl FnOnce()) -> Option<String> {
    catch_unwind(AssertUnwindSafe(test)).err().map(panic_text)
}

#[test]
fn each_planted_fault_of_a_server_is_found() {
    assert!(FAULTS.len() >= 20);
    for (fault, expected) in FAULTS {
        let found = failure(|| check(*fault));
        let found = found.unwrap_or_else(|| panic!("{fault:?} is not found"));
        assert!(found.contains(expected), "{fault:?} is found as: {found}");
    }
}

#[test]
fn server_without_a_fault_passes() {
    check(Fault::None);
}

#[server_protocol(framing = Lines)]
fn greet(name: &str) -> String {
    format!("Hello, {name}!")
}

/// A fault of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientFault {
    None,
    /// Sends the request again after any failure.
    ExecutedRequestRetried,
    /// Says that a request without a reply was not executed.
    WrongVerdict,
    /// Takes what has come at the end as the reply.
    CutReplyAsWhole,
    /// Sends the request a second time if it was written in pieces.
    RequestSentTwice,
}

/// Calls once, as a client without this library does.
async fn call(server: &TestServer<Greet>, fault: ClientFault) -> Result<String, Execution> {
    let result = attempt(server, fault).await;
    if fault == ClientFault::ExecutedRequestRetried && result.is_err() {
        return attempt(server, fault).await;
    }
    result
}

async fn attempt(server: &TestServer<Greet>, fault: ClientFault) -> Result<String, Execution> {
    let mut stream = server.stream();
    let exchange = async {
        let request = b"Ann\n";
        let written = stream.write(request).await?;
        if fault == ClientFault::RequestSentTwice && written < request.len() {
            stream.write_all(request).await?;
        }
        stream.write_all(&request[written..]).await?;
        let mut reply = Vec::new();
        while stream.read_buf(&mut reply).await? > 0 && !reply.ends_with(b"\n") {}
        io::Result::Ok(reply)
    };
    let reply = timeout(Duration::from_secs(10), exchange).await;
    match reply {
        Ok(Ok(reply)) if reply.ends_with(b"\n") || fault == ClientFault::CutReplyAsWhole => {
            Ok(String::from_utf8_lossy(&reply).into_owned())
        }
        _ if fault == ClientFault::WrongVerdict => Err(Execution::NotExecuted),
        _ => Err(Execution::Unknown),
    }
}

fn check_client(fault: ClientFault) {
    cut_client_everywhere(Greet, async |server| call(server, fault).await);
}

#[test]
fn each_planted_fault_of_a_client_is_found() {
    for (fault, expected) in [
        (
            ClientFault::ExecutedRequestRetried,
            "has executed 2 requests",
        ),
        (
            ClientFault::WrongVerdict,
            "has executed 1 requests, and the calls say 0 to 0",
        ),
        (ClientFault::CutReplyAsWhole, "is expected"),
        (
            ClientFault::RequestSentTwice,
            "without a cut: the server has executed 2 requests",
        ),
    ] {
        let found = failure(|| check_client(fault));
        let found = found.unwrap_or_else(|| panic!("{fault:?} is not found"));
        assert!(found.contains(expected), "{fault:?} is found as: {found}");
    }
}

#[test]
fn client_without_a_fault_passes() {
    check_client(ClientFault::None);
}

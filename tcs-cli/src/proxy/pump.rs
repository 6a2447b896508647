//! One direction of a connection: reads, waits as the faults say, shows, and writes.

use std::{
    collections::VecDeque,
    future, io,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::{self, Instant},
};

use super::{
    fault::{Faults, Random},
    show::Show,
};

/// How much is read at once.
const READ_SIZE: usize = 64 << 10;
/// How much may wait for its time. Beyond that, nothing more is read, and so the sender waits.
const MAX_QUEUE: usize = 1 << 20;
/// The number of writes per second at a limited rate.
const SLICES: u64 = 100;

/// Any longer delay is this one: the clock does not reach every time.
const LONGEST_DELAY: Duration = Duration::from_hours(10 * 365 * 24);

/// How a direction ends.
#[derive(Debug)]
pub(super) enum End {
    /// The sender has closed its half, which was passed on.
    HalfClosed,
    /// The bytes before the cut were passed on.
    Cut,
    /// The sender has closed its half, but after a stall nothing is passed on.
    Stalled,
    /// The sender is gone. What it had sent before was passed on, except after a stall.
    Broken(io::Error),
    /// The receiver is gone. What it had sent before may still be read.
    Unread(io::Error),
}

/// What waits for its time, after all that was read before it. No bytes are the end.
#[derive(Debug, Default)]
struct Queue {
    chunks: VecDeque<(Instant, Vec<u8>)>,
    length: usize,
    is_ended: bool,
    /// Why it has ended early.
    broken: Option<io::Error>,
}

impl Queue {
    /// Adds what was read.
    fn push(&mut self, delay: Duration, read: io::Result<&[u8]>) {
        let chunk = read.unwrap_or_else(|error| {
            self.broken = Some(error);
            &[]
        });
        self.is_ended = chunk.is_empty();
        self.length += chunk.len();
        let due = Instant::now() + delay.min(LONGEST_DELAY);
        self.chunks.push_back((due, chunk.to_vec()));
    }

    /// Takes the first chunk, or `None` at the end.
    fn pop(&mut self) -> Option<Vec<u8>> {
        let (_, chunk) = self.chunks.pop_front()?;
        self.length -= chunk.len();
        (!chunk.is_empty()).then_some(chunk)
    }

    /// Waits until the first chunk is due.
    async fn due(&self) {
        match self.chunks.front() {
            Some((due, _)) => sleep_until(*due).await,
            None => future::pending().await,
        }
    }
}

/// Returns at once for a time that has come, where the timer would round up to the next millisecond.
async fn sleep_until(time: Instant) {
    if time > Instant::now() {
        time::sleep_until(time).await;
    }
}

/// Passes bytes on until the end of the direction.
///
/// Reading goes on while bytes wait or are written, so that a reset is noticed. It is passed on after the bytes.
/// Both directions share `is_reset`: after a reset, no end is passed on.
pub(super) async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    faults: &Faults,
    is_reset: &AtomicBool,
    mut random: Random,
    mut show: Show,
) -> End {
    let mut queue = Queue::default();
    let mut buffer = vec![0; READ_SIZE];
    let mut writing = Writing::new(faults);
    while !(queue.is_ended && writing.is_stalled) {
        if writing.is_cut(&show) {
            return End::Cut;
        }
        tokio::select! {
            biased;
            () = queue.due(), if writing.is_idle() => match queue.pop() {
                // Before it is written, so that a request is shown before its reply.
                Some(chunk) => show.bytes(writing.begin(chunk)),
                None if queue.broken.is_some() => break,
                None if is_reset.load(Ordering::Relaxed) => return End::HalfClosed,
                None => {
                    show.end();
                    return to.shutdown().await.map_or_else(End::Unread, |()| End::HalfClosed);
                }
            },
            written = writing.next(&mut to), if writing.is_busy() => if let Err(error) = written {
                // The system reports a reset once. The other direction then reads an end.
                let seen = error.kind() == io::ErrorKind::ConnectionReset;
                is_reset.fetch_or(seen, Ordering::Relaxed);
                return End::Unread(error);
            },
            read = from.read(&mut buffer), if !queue.is_ended && queue.length < MAX_QUEUE => {
                let delay = faults.delay.saturating_add(random.up_to(faults.jitter));
                queue.push(delay, read.map(|length| buffer.get(..length).unwrap_or_default()));
            }
            // Stalled, with a full queue: the other direction goes on.
            else => future::pending().await,
        }
    }
    queue.broken.map_or(End::Stalled, End::Broken)
}

/// A chunk that is written, no further than the faults let it, and no faster.
#[derive(Debug)]
struct Writing<'a> {
    faults: &'a Faults,
    chunk: Vec<u8>,
    written: usize,
    /// How many bytes of the direction were written.
    passed: u64,
    /// When the next bytes may be written.
    next: Instant,
    is_stalled: bool,
}

impl<'a> Writing<'a> {
    fn new(faults: &'a Faults) -> Self {
        Self {
            faults,
            chunk: Vec::new(),
            written: 0,
            passed: 0,
            next: Instant::now(),
            is_stalled: false,
        }
    }

    fn is_busy(&self) -> bool {
        !self.chunk.is_empty()
    }

    fn is_idle(&self) -> bool {
        !self.is_busy() && !self.is_stalled
    }

    /// Begins the fault at this byte, if there is one, and returns `true` for a cut.
    fn is_cut(&mut self, show: &Show) -> bool {
        let is_at = |end: Option<u64>| end.is_some_and(|end| self.passed >= end);
        let is_cut = is_at(self.faults.cut_after);
        let stalls = is_at(self.faults.stall_after) && !self.is_stalled;
        if self.is_busy() || !(is_cut || stalls) {
            return false;
        }
        let what = if is_cut { "cut" } else { "stalled" };
        show.note(&format!("{what} after {} bytes", self.passed));
        self.is_stalled = true;
        is_cut
    }

    /// Takes a chunk, and returns what will be written of it.
    fn begin(&mut self, mut chunk: Vec<u8>) -> &[u8] {
        let ends = [self.faults.cut_after, self.faults.stall_after];
        if let Some(end) = ends.into_iter().flatten().min() {
            let left = end.saturating_sub(self.passed);
            chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        }
        self.written = 0;
        self.chunk = chunk;
        &self.chunk
    }

    /// Writes some bytes of the chunk. Safe to cancel.
    async fn next(&mut self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        if self.written == self.chunk.len() {
            // TLS keeps what the socket did not take.
            to.flush().await?;
            self.chunk.clear();
            return Ok(());
        }
        let mut rest = self.chunk.get(self.written..).unwrap_or_default();
        let rate = self.faults.bandwidth.map(|rate| rate.max(1));
        if let Some(rate) = rate {
            sleep_until(self.next).await;
            let slice = usize::try_from(rate / SLICES).unwrap_or(usize::MAX).max(1);
            rest = rest.get(..slice).unwrap_or(rest);
        }
        let length = to.write(rest).await?;
        if length == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        if let Some(rate) = rate {
            let now = Instant::now().max(self.next);
            #[expect(clippy::cast_precision_loss, reason = "a pause of some milliseconds")]
            let pause = Duration::from_secs_f64(length as f64 / rate as f64);
            self.next = now + pause;
        }
        self.passed += length as u64;
        self.written += length;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Instant as StdInstant};

    use tokio::io::{BufWriter, DuplexStream, duplex};

    use super::*;
    use crate::{
        framing::FramingSpec,
        payload::View,
        proxy::{fault::Direction, show::Style},
    };

    /// Starts a direction, and returns what it reads from and writes to.
    fn pumped(faults: Faults) -> (DuplexStream, DuplexStream) {
        pumped_by(faults, |to| to)
    }

    fn pumped_by<W: AsyncWrite + Send + Unpin + 'static>(
        faults: Faults,
        writer: fn(DuplexStream) -> W,
    ) -> (DuplexStream, DuplexStream) {
        let (near, from) = duplex(64);
        let (to, far) = duplex(64);
        let to = writer(to);
        let style = Style {
            start: StdInstant::now(),
            view: View::default(),
            is_full: false,
            is_quiet: true,
        };
        let show = Show::new(Arc::new(style), &FramingSpec::default(), 1, Direction::Up);
        tokio::spawn(async move {
            let random = Random::new(7, 1, Direction::Up);
            pump(from, to, &faults, &AtomicBool::new(false), random, show).await
        });
        (near, far)
    }

    const DELAY: Duration = Duration::from_millis(50);

    #[tokio::test(start_paused = true)]
    async fn each_byte_is_kept_for_the_delay_and_not_for_those_before_it() {
        let (mut near, mut far) = pumped(Faults {
            delay: DELAY,
            ..Faults::default()
        });
        let start = Instant::now();
        let mut byte = [0];
        let send = async {
            for sent in [b'a', b'b', b'c'] {
                near.write_all(&[sent]).await.expect("it is open");
                time::sleep(DELAY / 5).await;
            }
            near.shutdown().await.expect("it is open");
        };
        let receive = async {
            for (number, sent) in (0..).zip([b'a', b'b', b'c']) {
                far.read_exact(&mut byte).await.expect("it comes");
                assert_eq!(
                    (byte, start.elapsed()),
                    ([sent], DELAY + DELAY / 5 * number)
                );
            }
            assert_eq!(far.read(&mut byte).await.expect("an end"), 0);
            assert_eq!(start.elapsed(), DELAY + DELAY / 5 * 3);
        };
        tokio::join!(send, receive);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_left_in_what_writes() {
        let (mut near, mut far) = pumped_by(Faults::default(), BufWriter::new);
        near.write_all(b"a").await.expect("it is open");
        let read = time::timeout(DELAY, far.read_u8()).await;
        assert_eq!(read.expect("it comes").expect("a byte"), b'a');
    }

    #[tokio::test(start_paused = true)]
    async fn jitter_keeps_the_order() {
        let (mut near, mut far) = pumped(Faults {
            delay: DELAY,
            jitter: DELAY,
            ..Faults::default()
        });
        let start = Instant::now();
        let send = async {
            for sent in 0..50 {
                near.write_all(&[sent]).await.expect("it is open");
                time::sleep(Duration::from_millis(1)).await;
            }
        };
        let receive = async {
            let mut late = Duration::ZERO;
            for number in 0..50_u8 {
                assert_eq!(far.read_u8().await.expect("it comes"), number);
                let begun = Duration::from_millis(number.into());
                late = late.max(start.elapsed().saturating_sub(begun));
                assert!(
                    late >= DELAY && late <= DELAY * 2 + Duration::from_millis(1),
                    "{late:?}"
                );
            }
            assert!(late > DELAY + DELAY / 4, "{late:?}");
        };
        tokio::join!(send, receive);
    }

    #[tokio::test(start_paused = true)]
    async fn bandwidth_is_a_limit() {
        let (mut near, mut far) = pumped(Faults {
            bandwidth: Some(1000),
            ..Faults::default()
        });
        let start = Instant::now();
        let send = async {
            near.write_all(&[b'x'; 500]).await.expect("it is open");
            near.shutdown().await.expect("it is open");
        };
        let mut received = Vec::new();
        let receive = far.read_to_end(&mut received);
        let ((), length) = tokio::join!(send, receive);
        assert_eq!(length.expect("an end"), 500);
        let passed = start.elapsed().as_millis();
        // The last piece of 10 bytes is not waited for.
        assert!((480..=550).contains(&passed), "{passed} ms");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_passed_on_after_the_byte_of_a_fault() {
        for end in [0, 1, 7] {
            let faults = Faults {
                cut_after: Some(end),
                ..Faults::default()
            };
            let (mut near, mut far) = pumped_by(faults, BufWriter::new);
            let mut received = Vec::new();
            let send = async {
                // It ends early.
                let _broken = near.write_all(b"0123456789").await;
            };
            let ((), read) = tokio::join!(send, far.read_to_end(&mut received));
            assert_eq!(read.expect("an end") as u64, end);
        }
    }
}

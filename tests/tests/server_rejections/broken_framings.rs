//! A framing of a user that breaks the rules ends its connections with an error, and harms nothing else.
//!
//! The server has threads of its own, so that one that spins fails a test instead of keeping it.

use std::{
    io::{Read as _, Write as _},
    marker::PhantomData,
    sync::mpsc,
    thread,
};

use tcs::{
    ConcurrentServer, ErrorKind, Rejection,
    format::Plain,
    framing::{FrameError, Framing, Input, LengthPrefixed, ParsedFrame},
};
use tcs_tests::{
    Kind, LIMIT, client::chain, code, control, each_kind, frame, gate, memory, tester_of,
    threads::apart,
};
use tokio::runtime::Builder;

each_kind!(
    no_runtime:
    message_of_no_bytes_ends_the_connection,
    notice_of_no_bytes_ends_the_connection,
    message_that_takes_more_than_has_arrived_ends_the_connection,
    message_of_bytes_that_have_not_arrived_ends_the_connection,
    message_that_ends_after_its_frame_ends_the_connection,
    message_that_ends_before_it_begins_ends_the_connection,
);

fn message_of_no_bytes_ends_the_connection<K: Kind>() {
    ends_its_connection::<K, WithoutBytes>();
}

fn notice_of_no_bytes_ends_the_connection<K: Kind>() {
    ends_its_connection::<K, NoticeWithoutBytes>();
}

fn message_that_takes_more_than_has_arrived_ends_the_connection<K: Kind>() {
    ends_its_connection::<K, Greedy>();
}

fn message_of_bytes_that_have_not_arrived_ends_the_connection<K: Kind>() {
    ends_its_connection::<K, Longer>();
}

fn message_that_ends_after_its_frame_ends_the_connection<K: Kind>() {
    ends_its_connection::<K, Overlapping>();
}

fn message_that_ends_before_it_begins_ends_the_connection<K: Kind>() {
    ends_its_connection::<K, Backwards>();
}

#[test]
fn client_takes_no_impossible_frame_for_a_reply() {
    fails_its_client::<WithoutBytes>();
    fails_its_client::<NoticeWithoutBytes>();
    fails_its_client::<Greedy>();
    fails_its_client::<Longer>();
    fails_its_client::<Overlapping>();
    fails_its_client::<Backwards>();
}

/// What a framing finds where it should not.
trait Mistake: Send + Sync + 'static {
    /// What is sent behind the first message.
    const BEHIND: &[u8] = b"";

    fn find(bytes: &[u8]) -> Option<ParsedFrame>;
}

struct WithoutBytes;

impl Mistake for WithoutBytes {
    const BEHIND: &[u8] = b"bytes";

    fn find(bytes: &[u8]) -> Option<ParsedFrame> {
        (bytes.len() == 5).then(|| ParsedFrame::message(0..0, 0))
    }
}

struct NoticeWithoutBytes;

impl Mistake for NoticeWithoutBytes {
    const BEHIND: &[u8] = b"bytes";

    fn find(bytes: &[u8]) -> Option<ParsedFrame> {
        (bytes.len() == 5).then(|| ParsedFrame::control(0x80, 0..0, 0))
    }
}

struct Greedy;

impl Mistake for Greedy {
    const BEHIND: &[u8] = b"bytes";

    fn find(bytes: &[u8]) -> Option<ParsedFrame> {
        let length = bytes.len();
        (length > 0).then(|| ParsedFrame::message(0..length, length + 5))
    }
}

struct Longer;

impl Mistake for Longer {
    const BEHIND: &[u8] = b"bytes";

    fn find(bytes: &[u8]) -> Option<ParsedFrame> {
        let length = bytes.len() + 5;
        (length > 5).then(|| ParsedFrame::message(0..length, length))
    }
}

/// Its message has bytes of the next frame.
struct Overlapping;

impl Mistake for Overlapping {
    const BEHIND: &[u8] = b"bytes";

    fn find(bytes: &[u8]) -> Option<ParsedFrame> {
        (bytes.len() == 5).then(|| ParsedFrame::message(0..5, 3))
    }
}

struct Backwards;

impl Mistake for Backwards {
    const BEHIND: &[u8] = b"bytes";

    fn find(bytes: &[u8]) -> Option<ParsedFrame> {
        #[expect(clippy::reversed_empty_ranges, reason = "it is the mistake")]
        (bytes.len() == 5).then(|| ParsedFrame::message(3..1, 5))
    }
}

/// Length-prefixed for the first message, and wrong from then on.
struct Broken<M> {
    inner: LengthPrefixed,
    has_begun: bool,
    mistake: PhantomData<M>,
}

impl<M> Default for Broken<M> {
    fn default() -> Self {
        Self {
            inner: LengthPrefixed::default(),
            has_begun: false,
            mistake: PhantomData,
        }
    }
}

impl<M: Mistake> Framing for Broken<M> {
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        if self.has_begun {
            return Ok(M::find(input.bytes()));
        }
        let found = self.inner.parse(input)?;
        self.has_begun = found.is_some();
        Ok(found)
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        self.inner.begin(out);
    }

    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        self.inner.finish(out, start)
    }

    fn reject(&mut self, out: &mut Vec<u8>, rejection: &Rejection) -> bool {
        self.inner.reject(out, rejection)
    }
}

fn ends_its_connection<K: Kind, M: Mistake>() {
    let server = apart(ConcurrentServer::new(tester_of::<K, Broken<M>>(&gate())));
    for _ in 0..2 {
        let mut peer = server.peer();
        peer.write_all(&frame(b"first")).expect("it is open");
        peer.write_all(M::BEHIND).expect("it is open");
        let mut heard = Vec::new();
        // A server that spins may answer for ever.
        let mut peer = peer.take(1_000);
        peer.read_to_end(&mut heard).expect("the server closes");
        let rejection = heard.strip_prefix(frame(b"first").as_slice());
        let rejection = rejection.expect("the reply before the mistake");
        // The peer did nothing wrong.
        let broken = "the framing found a frame without bytes, or beyond them";
        let expected = [
            control(code::FAILED, broken),
            control(code::GOING_AWAY, "the server failed"),
        ];
        assert_eq!(rejection, expected.concat());
    }
    server.stop();
    let report = server.finished();
    let requests = report.requests;
    assert_eq!(
        (requests.served, requests.rejected, requests.failed),
        (2, 0, 2),
        "{report}"
    );
    // Stopping it takes connections as well.
    assert_eq!(report.connections.aborted, 0, "{report}");
}

/// The client has a thread of its own, so that one that spins fails the test.
fn fails_its_client<M: Mistake>() {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        let error = runtime.block_on(async {
            let (mut connection, mut peer) = memory::connection::<Broken<M>>(1 << 10);
            peer.send(frame(b"first")).await;
            let first = connection.receive::<&str, Plain>().await;
            assert_eq!(first.expect("it precedes the mistake"), "first");
            peer.send(M::BEHIND).await;
            let second = connection.receive::<String, Plain>().await;
            second.expect_err("that is no reply")
        });
        tell.send((error.kind(), chain(&error)))
            .expect("the test waits");
    });
    let mistake = std::any::type_name::<M>();
    let error = told.recv_timeout(LIMIT);
    let (kind, causes) = error.unwrap_or_else(|_| panic!("nothing ends: {mistake}"));
    assert_eq!(kind, ErrorKind::Reply, "{mistake}");
    assert_eq!(
        causes.last().map(String::as_str),
        Some("the framing found a frame without bytes, or beyond them"),
        "{mistake}"
    );
}

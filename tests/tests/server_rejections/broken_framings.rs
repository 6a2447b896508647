//! A framing of a user that breaks the rules ends its connections with an error, and harms nothing else.
//!
//! The server has threads of its own, so that one that spins fails a test instead of keeping it.

use std::{
    io::{Read as _, Write as _},
    marker::PhantomData,
};

use tcs::{
    ConcurrentServer, FrameError, Framing, LengthPrefixed, ParsedFrame, Rejection, Unparsed,
};
use tcs_tests::{Kind, code, each_kind, frame, gate, tester_of, threads::apart};

each_kind!(
    no_runtime:
    message_found_in_nothing_ends_the_connection,
    notice_found_in_nothing_ends_the_connection,
    message_that_takes_more_than_has_arrived_ends_the_connection,
    message_of_bytes_that_have_not_arrived_ends_the_connection,
);

fn message_found_in_nothing_ends_the_connection<K: Kind>() {
    ends_its_connection::<K, FromNothing>();
}

fn notice_found_in_nothing_ends_the_connection<K: Kind>() {
    ends_its_connection::<K, NoticeFromNothing>();
}

fn message_that_takes_more_than_has_arrived_ends_the_connection<K: Kind>() {
    ends_its_connection::<K, Greedy>();
}

fn message_of_bytes_that_have_not_arrived_ends_the_connection<K: Kind>() {
    ends_its_connection::<K, Longer>();
}

/// What a framing finds where it should not.
trait Mistake: Send + Sync + 'static {
    /// What is sent behind the first message.
    const BEHIND: &[u8] = b"";

    fn find(bytes: &[u8]) -> Option<ParsedFrame>;
}

struct FromNothing;

impl Mistake for FromNothing {
    fn find(bytes: &[u8]) -> Option<ParsedFrame> {
        bytes.is_empty().then(|| ParsedFrame::message(0..0, 5))
    }
}

struct NoticeFromNothing;

impl Mistake for NoticeFromNothing {
    fn find(bytes: &[u8]) -> Option<ParsedFrame> {
        bytes
            .is_empty()
            .then(|| ParsedFrame::control(0x80, 0..0, 5))
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
    fn parse(&mut self, input: Unparsed<'_>) -> Result<Option<ParsedFrame>, FrameError> {
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
        let [0x80, 0, _, length, kind, text @ ..] = rejection else {
            panic!("no rejection: {rejection:?}");
        };
        assert_eq!(*kind, code::PROTOCOL_ERROR);
        assert_eq!(
            usize::from(*length),
            1 + text.len(),
            "more than a rejection"
        );
    }
    server.stop();
    let report = server.finished();
    let requests = report.requests;
    assert_eq!(
        (requests.served, requests.rejected, requests.failed),
        (2, 2, 0),
        "{report}"
    );
    // Stopping it takes connections as well.
    assert_eq!(report.connections.cut, 0, "{report}");
}

//! Rejections in the words of the protocol, where the framing has no form for them.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use tcs::{
    ConcurrentServer, ConnectionInfo, Rejection, RejectionKind, Response,
    format::{Encode, Plain},
    framing::{FrameError, Framing, Input, Lines, ParsedFrame, Raw},
    protocol::{Context, FromContext, ServerProtocol},
    server::RequestCounts,
    server_protocol,
};
use tcs_tests::{
    Act, Count, Counting, Gate, Kind, Over, each_kind, gate, over_each, said_to, start, start_over,
    within,
};

each_kind!(
    over_each:
    connection_goes_on_behind_a_rejected_request,
    error_of_the_function_is_worded_and_counts_as_served,
    panic_is_worded,
    session_that_was_lost_is_the_last_word,
    idle_connection_hears_the_last_word,
    started_line_that_does_not_end_is_worded,
    bytes_that_make_no_sense_are_worded,
    words_of_a_protocol_by_hand_are_optional,
);
each_kind!(idle_connection_is_told_that_the_server_stops);
each_kind!([ready_async, waiting] over_each: function_that_takes_too_long_is_worded);
over_each!(
    words_of_a_function_are_those_that_it_names,
    rejection_of_what_is_extracted_is_worded,
    one_exchange_ends_with_the_words,
    words_can_be_the_last,
    last_words_are_followed_by_no_frame_of_the_framing,
    words_can_be_none,
);

fn in_words(rejection: &Rejection) -> String {
    format!("-{}: {}", rejection.kind(), rejection.text())
}

/// Doubles a number, unless it is told to do something else.
struct Double<K, S = ()> {
    gate: Gate,
    marker: PhantomData<fn() -> (K, S)>,
}

/// A server that doubles.
fn doubling<K: Kind>() -> ConcurrentServer<Double<K>> {
    ConcurrentServer::new(Double {
        gate: gate(),
        marker: PhantomData,
    })
}

impl<K: Kind, S: Count> ServerProtocol for Double<K, S> {
    type Framing = Lines;
    type Format = Plain;
    type Session = S;
    type Request<'a> = i32;
    type Reply<'a> = Result<i32, String>;

    fn open_session(&self, _info: &ConnectionInfo) -> S {
        S::default()
    }

    fn reject_with<'a>(&'a self, rejection: &'a Rejection) -> Option<impl Encode<Plain>> {
        Some(in_words(rejection))
    }

    const WAITS: bool = K::WAITS;

    fn process_request<'a>(
        &'a self,
        context: Context<'a, S>,
        number: i32,
    ) -> impl Future<Output = Result<Result<i32, String>, Rejection>> + Send {
        let Context { info, session, .. } = context;
        K::process(info, &self.gate, move || match number {
            -1 => Act::Return(Ok(Err("no number below 0".to_owned()))),
            -2 => panic!("on purpose"),
            -3 => Act::Wait(Ok(Ok(0))),
            0 => Act::Return(Ok(Ok(session.count().cast_signed()))),
            number => Act::Return(Ok(Ok(number * 2))),
        })
    }
}

/// Sends lines and returns all that is said until the end, and what was counted.
async fn all<P: ServerProtocol>(
    over: Over,
    server: ConcurrentServer<P>,
    lines: &str,
) -> (String, RequestCounts) {
    let (said, requests) = said_to(over, server, lines).await;
    (String::from_utf8(said).expect("text"), requests)
}

async fn connection_goes_on_behind_a_rejected_request<K: Kind>(over: Over) {
    let server = doubling::<K>();
    let (said, requests) = all(over, server, "1\nx\n2\n").await;
    let rejected = "-bad request: `x` is not a `i32`: invalid digit found in string";
    assert_eq!(said, format!("2\n{rejected}\n4\n"));
    assert_eq!((requests.served, requests.rejected), (2, 1));
}

async fn error_of_the_function_is_worded_and_counts_as_served<K: Kind>(over: Over) {
    let (said, requests) = all(over, doubling::<K>(), "-1\n2\n").await;
    assert_eq!(said, "-error: no number below 0\n4\n");
    assert_eq!(requests.served, 2);
}

async fn panic_is_worded<K: Kind>(over: Over) {
    let (said, requests) = all(over, doubling::<K>(), "-2\n2\n").await;
    assert_eq!(said, "-failed: the function panicked\n4\n");
    assert_eq!((requests.served, requests.failed), (1, 1));
}

async fn session_that_was_lost_is_the_last_word<K: Kind>(over: Over) {
    let server = {
        ConcurrentServer::new(Double::<K, Counting> {
            gate: gate(),
            marker: PhantomData,
        })
    };
    let (said, requests) = all(over, server, "0\n-2\n0\n").await;
    assert_eq!(
        said,
        "1\n-failed: the function panicked\n\
         -going away: the session was lost with the failed request\n"
    );
    assert_eq!((requests.received, requests.failed), (2, 1));
}

#[server_protocol(framing = Lines, reject_with = in_words)]
fn tally(line: &str, #[session] count: &mut u32) -> u32 {
    assert_ne!(line, "panic");
    *count += 1;
    *count
}

async fn words_of_a_function_are_those_that_it_names(over: Over) {
    let server = ConcurrentServer::new(Tally);
    let (said, requests) = all(over, server, "a\npanic\nb\n").await;
    assert_eq!(
        said,
        "1\n-failed: the function panicked\n\
         -going away: the session was lost with the failed request\n"
    );
    assert_eq!((requests.received, requests.failed), (2, 1));
}

async fn function_that_takes_too_long_is_worded<K: Kind>(over: Over) {
    let server = doubling::<K>().request_timeout(Duration::from_millis(50));
    let (said, requests) = all(over, server, "-3\n2\n").await;
    assert_eq!(
        said,
        "-timed out: no reply within 50ms (`request_timeout`)\n4\n"
    );
    assert_eq!((requests.served, requests.failed), (1, 1));
}

/// Something that there is never any of.
struct Rare;

impl FromContext<'_> for Rare {
    fn from_context(_facts: &ConnectionInfo) -> Result<Self, Rejection> {
        Err(Rejection::busy("none is left"))
    }
}

#[server_protocol(framing = Lines, reject_with = in_words)]
fn take(_line: &str, _rare: Rare) {}

async fn rejection_of_what_is_extracted_is_worded(over: Over) {
    let (said, requests) = all(over, ConcurrentServer::new(Take), "a\nb\n").await;
    assert_eq!(said, "-busy: none is left\n-busy: none is left\n");
    assert_eq!(requests.rejected, 2);
}

async fn idle_connection_hears_the_last_word<K: Kind>(over: Over) {
    let server = doubling::<K>().idle_timeout(Duration::from_millis(300));
    let server = start_over(over, server).await;
    let mut peer = server.peer().await;
    within(peer.send("1\n")).await;
    let said = within(peer.rest()).await;
    let expected = "2\n-idle: no request arrived for 300ms (`idle_timeout`)\n";
    assert_eq!(said, expected.as_bytes());
    drop(peer);
    assert_eq!(server.stopped().await.requests.received, 1);
}

async fn started_line_that_does_not_end_is_worded<K: Kind>(over: Over) {
    let server = doubling::<K>().frame_timeout(Duration::from_millis(50));
    let server = start_over(over, server).await;
    let mut peer = server.peer().await;
    within(peer.send("1")).await;
    let said = within(peer.rest()).await;
    let expected = "-idle: the frame was not complete after 50ms (`frame_timeout`)\n";
    assert_eq!(said, expected.as_bytes());
    drop(peer);
    assert_eq!(server.stopped().await.requests.rejected, 1);
}

async fn bytes_that_make_no_sense_are_worded<K: Kind>(over: Over) {
    for (sent, why) in [
        (
            "1\n2".to_owned(),
            "the connection ended in the middle of a frame",
        ),
        (
            format!("1\n{}", "2".repeat(101)),
            "a message of 101 bytes exceeds `max_frame_len` of 100 bytes",
        ),
    ] {
        let server = doubling::<K>().max_frame_len(100);
        let (said, requests) = all(over, server, &sent).await;
        assert_eq!(said, format!("2\n-protocol error: {why}\n"));
        assert_eq!((requests.served, requests.rejected), (1, 1));
    }
}

#[server_protocol(framing = Raw, reject_with = in_words)]
fn halve(number: u32) -> u32 {
    number / 2
}

async fn one_exchange_ends_with_the_words(over: Over) {
    let (said, requests) = all(over, ConcurrentServer::new(Halve), "x").await;
    assert_eq!(
        said,
        "-bad request: `x` is not a `u32`: invalid digit found in string"
    );
    assert_eq!(requests.rejected, 1);
}

#[server_protocol(framing = Lines, reject_with = last_words)]
fn once_wrong(number: u32) -> u32 {
    number
}

fn last_words(_: &Rejection) -> Response<&'static str> {
    Response::ReplyAndClose("bye")
}

async fn words_can_be_the_last(over: Over) {
    let (said, requests) = all(over, ConcurrentServer::new(OnceWrong), "1\nx\n2\n").await;
    assert_eq!(said, "1\nbye\n");
    assert_eq!((requests.received, requests.rejected), (2, 1));
}

/// Lines, with a frame for final rejections only.
#[derive(Default)]
struct FinalLines(Lines);

impl Framing for FinalLines {
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        self.0.parse(input)
    }

    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        self.0.finish(out, start)
    }

    fn reject(&mut self, out: &mut Vec<u8>, rejection: &Rejection) -> bool {
        if rejection.kind().is_final() {
            out.extend_from_slice(format!("!{rejection}\n").as_bytes());
        }
        rejection.kind().is_final()
    }
}

#[server_protocol(framing = FinalLines, reject_with = last_words)]
fn once_wrong_in_final_lines(number: u32) -> u32 {
    number
}

async fn last_words_are_followed_by_no_frame_of_the_framing(over: Over) {
    let server = ConcurrentServer::new(OnceWrongInFinalLines);
    let (said, requests) = all(over, server, "1\nx\n2\n").await;
    assert_eq!(said, "1\nbye\n");
    assert_eq!((requests.received, requests.rejected), (2, 1));
}

#[server_protocol(framing = Lines, reject_with = nothing)]
fn listen(number: u32) -> u32 {
    number
}

fn nothing(_: &Rejection) -> Response<&'static str> {
    Response::NoReply
}

async fn words_can_be_none(over: Over) {
    let (said, requests) = all(over, ConcurrentServer::new(Listen), "1\nx\n2\n").await;
    assert_eq!(said, "1\n2\n");
    assert_eq!((requests.served, requests.rejected), (2, 1));
}

/// Words what it can.
struct ByHand<K>(Gate, PhantomData<fn() -> K>);

impl<K: Kind> ServerProtocol for ByHand<K> {
    type Framing = Lines;
    type Format = Plain;
    type Session = ();
    type Request<'a> = &'a str;
    type Reply<'a> = &'a str;

    fn open_session(&self, _info: &ConnectionInfo) {}

    fn reject_with<'a>(&'a self, rejection: &'a Rejection) -> Option<impl Encode<Plain>> {
        (rejection.kind() == RejectionKind::Busy).then(|| format!("-BUSY {}", rejection.text()))
    }

    const WAITS: bool = K::WAITS;

    fn process_request<'a>(
        &'a self,
        context: Context<'a, ()>,
        line: &'a str,
    ) -> impl Future<Output = Result<&'a str, Rejection>> + Send {
        K::process(context.info, &self.0, move || {
            Act::Return(match line {
                "busy" => Err(Rejection::busy("later")),
                "error" => Err(Rejection::error("my error")),
                _ => Err(Rejection::bad_request("what?")),
            })
        })
    }
}

async fn words_of_a_protocol_by_hand_are_optional<K: Kind>(over: Over) {
    let server = ConcurrentServer::new(Arc::new(ByHand::<K>(gate(), PhantomData)));
    let (said, requests) = all(over, server, "busy\nerror\nbad\nbusy\n").await;
    assert_eq!(said, "-BUSY later\nmy error\n");
    assert_eq!((requests.served, requests.rejected), (1, 2));
}

async fn idle_connection_is_told_that_the_server_stops<K: Kind>() {
    let server = start(doubling::<K>()).await;
    let mut peer = server.peer().await;
    within(peer.send("1\n")).await;
    assert_eq!(within(peer.receive(2)).await, b"2\n");
    server.handle().stop();
    let said = within(peer.rest()).await;
    assert_eq!(said, b"-going away: the server is stopping\n");
    drop(peer);
    let report = server.finished().await;
    assert_eq!(report.requests.received, 1);
}

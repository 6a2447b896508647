//! What `wrap` adds to a protocol, and what it leaves as it is.

use std::{
    marker::PhantomData,
    sync::{Arc, Mutex},
};

use tcs::{
    ConcurrentServer, ConnectionInfo, Peer, Rejection,
    format::{Encode, Plain},
    framing::{FrameError, Framing, Input, LengthPrefixed, ParsedFrame},
    protocol::{Context, Middleware, ServerProtocol, Wrapped, wrap},
};
use tcs_tests::{
    Act, Gate, Heard, Kind, Over, SyncFn, Tester, code, each_kind, each_work, frame, gate, start,
    start_over, tester_of, within, work::Calls,
};
use tokio::{runtime, sync::Semaphore, task::yield_now};

each_kind!(
    over_each:
    outer_middleware_runs_around_the_inner_one,
    rest_of_the_protocol_is_that_of_the_inner_one,
    request_may_wait_in_a_middleware,
    panic_of_a_middleware_fails_the_request,
);
each_kind!([ready_async, waiting, blocking] over_each: limit_of_a_middleware_answers_busy);
each_kind!([ready_async, waiting] over_each: function_ends_with_the_sending_half_of_its_peer);
each_work!(function_of_an_attribute_can_be_wrapped: answers_as_before());

type Log = Arc<Mutex<Vec<&'static str>>>;

/// Notes when it begins and ends, around any protocol.
struct Notes {
    log: Log,
    begins: &'static str,
    ends: &'static str,
}

impl<P: ServerProtocol> Middleware<P> for Notes {
    async fn process_request<'a>(
        &'a self,
        inner: &'a P,
        context: Context<'a, P::Session>,
        request: P::Request<'a>,
    ) -> Result<P::Reply<'a>, Rejection> {
        self.log.lock().expect("no panic").push(self.begins);
        yield_now().await;
        let reply = inner.process_request(context, request).await;
        self.log.lock().expect("no panic").push(self.ends);
        reply
    }
}

async fn outer_middleware_runs_around_the_inner_one<K: Kind>(over: Over) {
    let log = Log::default();
    let notes = |begins, ends| Notes {
        log: Arc::clone(&log),
        begins,
        ends,
    };
    let (inner, outer) = (notes("(", ")"), notes("[", "]"));
    let protocol = wrap(wrap(Echo::<K>::new(b'\n'), inner), outer);
    let protocol = Arc::new(protocol);
    let server = start_over(over, ConcurrentServer::new(protocol)).await;
    let mut peer = server.peer().await;
    within(peer.send("a\n")).await;
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, b"ready\n1 a\n");
    assert_eq!(*log.lock().expect("no panic"), ["[", "(", ")", "]"]);
    assert_eq!(server.stopped().await.requests.served, 1);
}

/// Repeats requests with their number. Its frames end with a byte that its value chooses.
struct Echo<K> {
    gate: Gate,
    end: u8,
    marker: PhantomData<fn() -> K>,
}

impl<K> Echo<K> {
    fn new(end: u8) -> Self {
        Self {
            gate: gate(),
            end,
            marker: PhantomData,
        }
    }
}

impl<K: Kind> ServerProtocol for Echo<K> {
    type Framing = Ended;
    type Format = Plain;
    type Session = u32;
    type Request<'a> = &'a str;
    type Reply<'a> = String;

    const WAITS: bool = K::WAITS;
    const HAS_GREETING: bool = true;

    fn framing(&self) -> Ended {
        Ended(self.end)
    }

    fn open_session(&self, _info: &ConnectionInfo) -> u32 {
        1
    }

    fn greeting<'a>(&'a self, _: &'a Peer, _: &'a mut u32) -> Option<impl Encode<Plain>> {
        Some("ready")
    }

    fn reject_with<'a>(&'a self, rejection: &'a Rejection) -> Option<impl Encode<Plain>> {
        Some(format!("-{}", rejection.text()))
    }

    fn process_request<'a>(
        &'a self,
        context: Context<'a, u32>,
        text: &'a str,
    ) -> impl Future<Output = Result<String, Rejection>> + Send {
        let number = *context.session;
        *context.session += 1;
        K::process(context.info, &self.gate, move || {
            Act::Return(Ok(format!("{number} {text}")))
        })
    }
}

/// A framing whose frames end with a byte.
#[derive(Default)]
struct Ended(u8);

impl Framing for Ended {
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        match input.bytes().iter().position(|byte| *byte == self.0) {
            Some(end) => Ok(Some(ParsedFrame::message(0..end, end + 1))),
            None => ParsedFrame::incomplete(input),
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>, _start: usize) -> Result<(), FrameError> {
        out.push(self.0);
        Ok(())
    }
}

/// Reads the requests and the session of one protocol. Lets no `no` pass.
struct Doorman;

impl<K: Kind> Middleware<Echo<K>> for Doorman {
    async fn process_request<'a>(
        &'a self,
        inner: &'a Echo<K>,
        context: Context<'a, u32>,
        text: &'a str,
    ) -> Result<String, Rejection> {
        if text == "no" {
            let number = *context.session;
            return Err(Rejection::busy(format!("before {number}")));
        }
        inner.process_request(context, text).await
    }
}

async fn rest_of_the_protocol_is_that_of_the_inner_one<K: Kind>(over: Over) {
    const { assert!(<Wrapped<Echo<SyncFn>, Doorman> as ServerProtocol>::HAS_GREETING) }
    let server = ConcurrentServer::new(wrap(Echo::<K>::new(b';'), Doorman));
    let server = start_over(over, server).await;
    for _ in 0..2 {
        let mut peer = server.peer().await;
        within(peer.send("a;no;b;")).await;
        within(peer.finish()).await;
        assert_eq!(within(peer.rest()).await, b"ready;1 a;-before 2;2 b;");
    }
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.rejected), (4, 2));
}

/// Waits at a gate before each request.
struct Waits(Gate);

impl<P: ServerProtocol> Middleware<P> for Waits {
    async fn process_request<'a>(
        &'a self,
        inner: &'a P,
        context: Context<'a, P::Session>,
        request: P::Request<'a>,
    ) -> Result<P::Reply<'a>, Rejection> {
        self.0.pass().await;
        inner.process_request(context, request).await
    }
}

/// A tester of a kind.
fn tester<K: Kind>(gate: &Gate) -> Tester<LengthPrefixed, (), K> {
    tester_of(gate)
}

async fn request_may_wait_in_a_middleware<K: Kind>(over: Over) {
    let gate = gate();
    let waits = gate.clone();
    let server = ConcurrentServer::new(wrap(tester::<K>(&waits), Waits(waits.clone())));
    let server = start_over(over, server).await;
    let mut peer = server.peer().await;
    within(peer.send(frame("a"))).await;
    within(gate.reached()).await;
    gate.open();
    assert_eq!(within(peer.hear()).await, Heard::message("a"));
    drop(peer);
    assert_eq!(server.stopped().await.requests.served, 1);
}

/// Panics before each request.
struct Panics;

impl<P: ServerProtocol> Middleware<P> for Panics {
    async fn process_request<'a>(
        &'a self,
        _inner: &'a P,
        _context: Context<'a, P::Session>,
        _request: P::Request<'a>,
    ) -> Result<P::Reply<'a>, Rejection> {
        panic!("a middleware");
    }
}

async fn panic_of_a_middleware_fails_the_request<K: Kind>(over: Over) {
    let server = ConcurrentServer::new(wrap(tester::<K>(&gate()), Panics));
    let server = start_over(over, server).await;
    let mut peer = server.peer().await;
    for _ in 0..2 {
        assert_eq!(within(peer.ask("a")).await.kind(), code::FAILED);
    }
    drop(peer);
    assert_eq!(server.stopped().await.requests.failed, 2);
}

/// Rejects requests beyond a number.
struct Limit(Semaphore);

impl<P: ServerProtocol> Middleware<P> for Limit {
    async fn process_request<'a>(
        &'a self,
        inner: &'a P,
        context: Context<'a, P::Session>,
        request: P::Request<'a>,
    ) -> Result<P::Reply<'a>, Rejection> {
        let permit = self.0.try_acquire();
        let _permit = permit.map_err(|_| Rejection::busy("one is in flight"))?;
        inner.process_request(context, request).await
    }
}

async fn limit_of_a_middleware_answers_busy<K: Kind>(over: Over) {
    let gate = gate();
    let protocol = wrap(tester::<K>(&gate), Limit(Semaphore::new(1)));
    let protocol = Arc::new(protocol);
    let server = start_over(over, ConcurrentServer::new(protocol)).await;
    let (mut first, mut second) = (server.peer().await, server.peer().await);
    within(first.send(frame("wait a"))).await;
    within(gate.reached()).await;
    let busy = Heard::Control(code::BUSY, "one is in flight".to_owned());
    assert_eq!(within(second.ask("b")).await, busy);
    gate.open();
    assert_eq!(within(first.hear()).await, Heard::message("a"));
    assert_eq!(within(second.ask("b")).await, Heard::message("b"));
    drop((first, second));
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.rejected), (2, 1));
}

/// Waits until its peer has closed its sending half.
struct Ends<K>(Gate, PhantomData<fn() -> K>);

impl<K: Kind> ServerProtocol for Ends<K> {
    type Framing = LengthPrefixed;
    type Format = Plain;
    type Session = ();
    type Request<'a> = ();
    type Reply<'a> = ();

    const ENDS_AT_HALF_CLOSE: bool = true;

    fn open_session(&self, _info: &ConnectionInfo) {}

    fn process_request<'a>(
        &'a self,
        context: Context<'a, ()>,
        (): (),
    ) -> impl Future<Output = Result<(), Rejection>> + Send {
        K::process(context.info, &self.0, || Act::Wait(Ok(())))
    }
}

async fn function_ends_with_the_sending_half_of_its_peer<K: Kind>(over: Over) {
    let gate = gate();
    let shared = gate.clone();
    let pass = || Limit(Semaphore::new(1));
    let server = {
        let protocol = Ends::<K>(shared.clone(), PhantomData);
        ConcurrentServer::new(wrap(protocol, pass()))
    };
    let server = start_over(over, server).await;
    let mut peer = server.peer().await;
    within(peer.send(frame(""))).await;
    within(gate.reached()).await;
    within(peer.finish()).await;
    within(peer.dropped()).await;
    assert_eq!(server.stopped().await.requests.aborted, 1);
}

/// Calls a function of an attribute, or of a module, within a middleware.
fn answers_as_before(protocol: impl ServerProtocol, calls: Calls) {
    let mut runtime = runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let log = Log::default();
        let notes = Notes {
            log: Arc::clone(&log),
            begins: "(",
            ends: ")",
        };
        // A task of generic code, whose future must be `Send`.
        let server = start(ConcurrentServer::new(wrap(protocol, notes))).await;
        let mut peer = server.peer().await;
        within(peer.send(calls.requests(&[0, 0]))).await;
        let reply = calls.reply();
        assert_eq!(within(peer.receive(2 * reply.len())).await, reply.repeat(2));
        drop(peer);
        assert_eq!(within(server.stopped()).await.requests.served, 2);
        assert_eq!(*log.lock().expect("no panic"), ["(", ")", "(", ")"]);
    });
}

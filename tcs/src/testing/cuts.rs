//! Connections that are cut at every byte.

use std::{cell::OnceCell, fmt::Debug, ops::RangeInclusive, time::Duration};

use super::{
    faults::{At, Cut},
    paused_runtime,
    server::{IntoServer, TestServer, serve},
};
use crate::{
    Execution,
    protocol::{CallContract, Contract, ServerProtocol},
};

/// Cuts a connection at every byte of its requests and of its replies, in each way ([`Cut`]), and compares what the
/// calls have returned with what the server counts: each request is executed at most once, and exactly as often as
/// [`Error::execution`](crate::Error::execution) says. Before that, the calls must succeed without a cut, also byte by
/// byte, and every later value must equal the value of this first time.
///
/// The requests are sent one after the other over one [`Connection`](crate::Connection). All connections have one
/// server, so the states of the protocol persist. If they change the values, use [`cut_client_everywhere`] with a
/// client that drops the values. The function has its own runtime, whose clock is paused, so no limit takes time. There
/// are four connections for each byte, so keep the requests short.
///
/// # Panics
///
/// Panics if the calls and the server do not agree, if a value differs from the first one, if the server does not end a
/// connection, and inside of a tokio runtime.
///
/// # Examples
///
/// ```
/// use tcs::{server_protocol, testing};
///
/// #[server_protocol]
/// fn greet(name: &str) -> String {
///     format!("Hello, {name}!")
/// }
///
/// # fn main() {
/// // #[test]
/// testing::cut_everywhere(Greet, || ["Ann", "Bob"]);
/// # }
/// ```
pub fn cut_everywhere<S, R>(server: S, requests: impl Fn() -> R)
where
    S: IntoServer,
    S::Protocol: CallContract<Framing = <S::Protocol as ServerProtocol>::Framing>,
    R: IntoIterator<Item = <S::Protocol as Contract>::Request<'static>>,
    for<'a> <S::Protocol as CallContract>::Value<'a>: Debug,
{
    let first: OnceCell<Vec<String>> = OnceCell::new();
    run(server, &async |server| {
        let mut connection = server.connect();
        let (mut calls, mut values) = (Vec::new(), Vec::new());
        for (index, request) in requests().into_iter().enumerate() {
            let reply = connection.call::<S::Protocol>(request).await;
            let mut call = match reply {
                Ok(value) => {
                    let value = format!("{value:?}");
                    let expected = first.get().and_then(|values| values.get(index));
                    let mut call = CheckedCall::replied();
                    call.compare(&value, expected);
                    values.push(value);
                    call
                }
                Err(error) => CheckedCall::failed(error),
            };
            call.executed = Some(executed(server));
            calls.push(call);
        }
        // There are no values only the first time, when all calls must succeed, or the test fails.
        first.get_or_init(|| values);
        calls
    });
}

/// Like [`cut_everywhere`], for a client of your own: compares the results of the client with the counts of the server.
///
/// `client` makes one call. It connects with [`connect`](TestServer::connect), [`channel`](TestServer::channel) or
/// [`stream`](TestServer::stream). Its first connection is cut, and later ones are not. If it returns `Ok`, the value
/// must be that of the connection that was not cut. If it returns an error, the error converts into the [`Execution`]
/// of its request: it is an [`Error`](crate::Error) of this library, or the `Execution` that another client knows.
///
/// # Panics
///
/// Panics as [`cut_everywhere`] does.
///
/// # Examples
///
/// A channel connects again, and sends again only what was not executed:
///
/// ```
/// use tcs::{server_protocol, testing};
///
/// #[server_protocol]
/// fn greet(name: &str) -> String {
///     format!("Hello, {name}!")
/// }
///
/// # fn main() {
/// testing::cut_client_everywhere(Greet, async |server| server.channel().call::<Greet>("Ann").await);
/// # }
/// ```
#[expect(
    clippy::needless_pass_by_value,
    reason = "a closure is passed without `&`"
)]
pub fn cut_client_everywhere<S, T, E>(
    server: S,
    client: impl AsyncFn(&TestServer<S::Protocol>) -> Result<T, E>,
) where
    S: IntoServer,
    T: Debug + PartialEq,
    E: Debug + Into<Execution>,
{
    let first = OnceCell::new();
    run(server, &async |server| {
        let result = client(server).await;
        vec![match result {
            Ok(value) => {
                let mut call = CheckedCall::replied();
                call.compare(&value, first.get());
                drop(first.set(value));
                call
            }
            Err(error) => CheckedCall::failed(error),
        }]
    });
}

/// The result of a call.
#[derive(Debug)]
struct CheckedCall {
    has_replied: bool,
    /// How often the request was executed.
    executions: RangeInclusive<u64>,
    /// Whether a reply is that of the connection that was not cut.
    is_expected: bool,
    /// For messages.
    text: String,
    /// The number of requests that the server has executed when the call returns, if it is known.
    executed: Option<u64>,
}

impl CheckedCall {
    fn replied() -> Self {
        Self {
            has_replied: true,
            executions: 1..=1,
            is_expected: true,
            text: "a reply".to_owned(),
            executed: None,
        }
    }

    fn failed(error: impl Debug + Into<Execution>) -> Self {
        let text = format!("{error:?}");
        let execution = error.into();
        Self {
            has_replied: false,
            executions: match execution {
                Execution::Executed => 1..=1,
                Execution::NotSent | Execution::NotExecuted => 0..=0,
                Execution::Unknown => 0..=1,
            },
            is_expected: true,
            text: format!("{execution:?} ({text})"),
            executed: None,
        }
    }

    /// Compares the value with that of the first connection.
    fn compare<T: Debug + PartialEq>(&mut self, value: &T, expected: Option<&T>) {
        if let Some(expected) = expected
            && value != expected
        {
            self.is_expected = false;
            self.text = format!("{value:?}, where {expected:?} is expected");
        }
    }
}

fn run<S: IntoServer>(
    server: S,
    client: &impl AsyncFn(&TestServer<S::Protocol>) -> Vec<CheckedCall>,
) {
    paused_runtime().block_on(async {
        // A server ends each wait within this time, or has no limit for it.
        let server = serve(server).await.within(Duration::from_hours(1));
        check_calls(&server, client, None).await;
        let (read, written) = server.take_counts();
        server.bytewise_next();
        check_calls(&server, client, None).await;
        let places = (0..=written).map(At::Written);
        for at in places.chain((0..=read).map(At::Read)) {
            for cut in Cut::ALL {
                check_calls(&server, client, Some((at, cut))).await;
            }
        }
        server.finish().await;
    });
}

/// Calls over a connection that is cut, and compares the results.
async fn check_calls<P: ServerProtocol>(
    server: &TestServer<P>,
    client: &impl AsyncFn(&TestServer<P>) -> Vec<CheckedCall>,
    cut: Option<(At, Cut)>,
) {
    let before = executed(server);
    if let Some((at, cut)) = cut {
        server.cut_next(at, cut);
    }
    let calls = client(server).await;
    // The server executes the requests that it has received before it closes.
    server.closed().await;
    let texts: Vec<_> = calls.iter().map(|it| it.text.as_str()).collect();
    let texts = texts.join("\n");
    let place = match cut {
        Some((at, cut)) => format!("cut at {at:?} by {cut:?}"),
        None => "without a cut".to_owned(),
    };
    let (mut least, mut most) = (0, 0);
    for (index, call) in calls.iter().enumerate() {
        least += call.executions.start();
        most += call.executions.end();
        // A request whose call has failed may still be executed, but a request with a reply was executed.
        if let Some(executed) = call.executed {
            let executed = executed - before;
            let number = index + 1;
            assert!(
                (least..=most).contains(&executed),
                "{place}: the server has executed {executed} requests after call {number}, and the calls say {least} to \
                 {most}:\n{texts}"
            );
        }
    }
    let executed = executed(server) - before;
    assert!(
        (least..=most).contains(&executed),
        "{place}: the server has executed {executed} requests, and the calls say {least} to {most}:\n{texts}"
    );
    let have_replied = calls.iter().all(|call| call.has_replied);
    assert!(cut.is_some() || have_replied, "{place}: {texts}");
    let is_expected = calls.iter().all(|call| call.is_expected);
    assert!(is_expected, "{place}: the call has returned {texts}");
}

/// Returns the number of requests that the server has received and not rejected.
fn executed<P: ServerProtocol>(server: &TestServer<P>) -> u64 {
    let requests = server.handle().stats().requests;
    requests.received - requests.rejected
}

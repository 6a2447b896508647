//! Tests of the texts of errors, and of what they say about requests and connections.

use std::time::Duration;

use super::*;
use crate::{
    RejectionKind,
    client::deadline::PassedLimit,
    format::{DecodeError, EncodeError},
    framing::FrameError,
};

const LIMIT: Duration = Duration::from_secs(3);

fn late() -> PassedLimit {
    PassedLimit::reply_timeout(LIMIT)
}

fn cause() -> io::Error {
    io::Error::other("cause")
}

fn rejected() -> Error {
    Error::rejected(&Peer::unnamed(), Rejection::busy("later\n"))
}

#[test]
fn error_is_one_pointer_that_threads_can_share() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Error>();
    assert_eq!(size_of::<Error>(), size_of::<usize>());
}

#[test]
fn error_shows_one_level_and_its_chain_on_one_line() {
    let error = rejected();
    assert_eq!(error.to_string(), "unnamed peer rejected the request");
    assert_eq!(
        format!("{error:?}"),
        "unnamed peer rejected the request: busy: later\\n"
    );
}

#[test]
fn error_of_the_users_keeps_its_source_and_is_not_retryable() {
    let inner = io::Error::other(Rejection::busy("inner"));
    let error = Error::other(inner);
    assert_eq!(error.to_string(), "busy: inner");
    // As that of `io::Error`, it shows its text once.
    assert_eq!(format!("{error:?}"), "busy: inner");
    assert!(error.downcast_ref::<io::Error>().is_some());
    assert!(error.downcast_ref::<Rejection>().is_none());

    // Also if it is an error of this library, with a source of its own.
    let error = Error::on_connect(&Peer::unnamed(), Error::other(rejected()));
    let told =
        "`on_connect` failed for unnamed peer: unnamed peer rejected the request: busy: later\\n";
    assert_eq!(format!("{error:?}"), told);
    assert_eq!(error.kind(), ErrorKind::Other);
    assert!(error.rejection().is_none());
    assert!(!error.is_retryable() && !error.is_connection_lost());
    let error = Error::not_connected(&error.into());
    let inner = error.downcast_ref::<Error>().expect("it was kept");
    assert_eq!(inner.kind(), ErrorKind::Rejected);

    // What the library has put into an error is not the user's.
    assert!(rejected().downcast_ref::<Rejection>().is_none());
    let error = Error::other(Rejection::busy("later"));
    assert!(error.rejection().is_none());
    assert!(!error.is_retryable());
}

/// Compares kinds and executions, and what `Debug` shows: the message, and the causes after it.
#[track_caller]
fn check<const N: usize>(errors: [Error; N], told: [(ErrorKind, Execution, &str); N]) {
    for (error, (kind, execution, shown)) in errors.into_iter().zip(told) {
        assert_eq!(format!("{error:?}"), shown);
        assert_eq!(
            (error.kind(), error.execution()),
            (kind, execution),
            "{error}"
        );
    }
}

/// Returns every error with `true` if it is retryable, and `true` if the connection is lost.
fn verdicts() -> Vec<(Error, bool, bool)> {
    let addr = SocketAddr::from(([127, 0, 0, 1], 80));
    let peer = &Peer::unnamed();
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let frame = || FrameError::malformed("cause");
    vec![
        (Error::setting("linger", "is odd"), false, false),
        (Error::address(":1", "no host"), false, false),
        (Error::resolve("nowhere:1", cause()), true, false),
        (Error::listen(addr, cause()), false, false),
        (Error::accept(cause()), false, false),
        (Error::start(cause()), false, false),
        (Error::thread(cause()), false, false),
        (Error::signals(cause()), false, false),
        (Error::outside_runtime("bind()", ""), false, false),
        (Error::inside_runtime("run()", "listen()"), false, false),
        (Error::without_clock("call()"), false, false),
        (Error::interrupted(7), false, false),
        (Error::connect(addr, cause()), true, true),
        (Error::connect_timed_out("far:1", LIMIT), true, false),
        #[cfg(unix)]
        (Error::connect_path("/a".as_ref(), cause()), true, true),
        #[cfg(feature = "tls")]
        (Error::tls("the key", cause()), false, false),
        #[cfg(feature = "tls")]
        (Error::handshake("far:1", peer, cause()), true, true),
        (Error::connect(addr, invalid()), false, true),
        (Error::encode(EncodeError::new("cause")), false, false),
        (Error::unsendable(frame()), false, false),
        (Error::full("why"), false, false),
        (Error::not_greeted(), false, false),
        (Error::no_room(peer, late()), true, false),
        (Error::no_connection(None, late()), true, false),
        (
            Error::not_connected(&Error::connect(addr, cause()).into()),
            true,
            true,
        ),
        (
            Error::not_connected(&Error::connect(addr, invalid()).into()),
            false,
            true,
        ),
        (Error::open(cause()), true, true),
        (Error::on_connect(peer, Error::full("why")), false, false),
        (Error::on_connect_timed_out(peer, LIMIT), true, false),
        (Error::blocking_in_async("call()"), false, false),
        (Error::closed_before_sent(peer), true, true),
        (Error::broken_before_sent(peer, "why"), true, true),
        (Error::read_timed_out(peer, late()), false, false),
        (Error::read_timed_out(peer, late()).not_sent(), true, false),
        (Error::write_timed_out(peer, LIMIT), false, false),
        (Error::reply_timed_out(peer, late()), false, false),
        (Error::closed_before_reply(peer), false, true),
        (Error::decode(peer, DecodeError::new("cause")), false, false),
        (Error::no_frame(peer, frame()), false, false),
        (Error::no_frame(peer, frame()).not_sent(), false, false),
        (Error::broken_before_reply(peer, "why"), false, true),
        (Error::write(peer, cause()), false, true),
        (Error::read(peer, cause()), false, true),
        (Error::read(peer, cause()).not_sent(), true, true),
        (Error::too_large(peer, 9, 8), false, false),
        #[cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
        (Error::wrong_operation(peer), false, false),
    ]
}

#[test]
fn error_says_whether_to_retry_and_whether_its_connection_is_lost() {
    for (error, is_retryable, is_connection_lost) in verdicts() {
        assert_eq!(error.is_retryable(), is_retryable, "{error}");
        assert_eq!(error.is_connection_lost(), is_connection_lost, "{error}");
    }
}

/// Each kind with `true` if it is retryable, and `true` if the connection is lost.
const REJECTIONS: [(RejectionKind, bool, bool); 12] = [
    (RejectionKind::Error, false, false),
    (RejectionKind::BadRequest, false, false),
    (RejectionKind::TooLarge, false, false),
    (RejectionKind::Busy, true, false),
    (RejectionKind::TimedOut, false, false),
    (RejectionKind::Failed, false, false),
    (RejectionKind::Cancelled, false, false),
    (RejectionKind::Unknown, false, false),
    (RejectionKind::GoingAway, true, true),
    (RejectionKind::Idle, true, true),
    (RejectionKind::TooManyConnections, true, true),
    (RejectionKind::ProtocolError, false, true),
];

#[test]
fn rejection_says_whether_to_retry_and_whether_its_connection_is_lost() {
    let peer = &Peer::unnamed();
    for (kind, is_retryable, is_connection_lost) in REJECTIONS {
        let error = Error::rejected(peer, Rejection::new(kind, ""));
        assert_eq!(error.is_retryable(), is_retryable, "{kind}");
        assert_eq!(error.is_connection_lost(), is_connection_lost, "{kind}");
        // Of a later request, after a final rejection.
        if kind.is_final() {
            let error = Error::ended_before_sent(peer, Rejection::new(kind, ""));
            assert_eq!(error.is_retryable(), is_retryable, "{kind}");
            assert!(error.is_connection_lost(), "{kind}");
        }
    }
}

/// The table in the documentation of `Error`.
#[test]
fn table_says_what_errors_say() {
    let docs = include_str!("mod.rs").split("pub struct Error(").next();
    let lines = docs.expect("there is a first part").lines();
    let rows = lines.filter(|line| line.starts_with("/// | `"));
    let mut rows: Vec<(Vec<&str>, bool)> = rows
        .map(|row| (row.split('|').map(str::trim).collect(), false))
        .collect();

    let peer = &Peer::unnamed();
    let rejections = REJECTIONS.map(|(kind, is_retryable, is_connection_lost)| {
        let error = Error::rejected(peer, Rejection::new(kind, ""));
        (error, is_retryable, is_connection_lost)
    });
    for (error, is_retryable, is_connection_lost) in verdicts().into_iter().chain(rejections) {
        let (kind, execution) = (error.kind(), error.execution());
        let rejection = error.rejection().map(|it| match it.kind() {
            RejectionKind::Unknown => "any other".to_owned(),
            kind => format!("*{kind}*"),
        });
        let found = rows.iter_mut().filter(|(row, _)| {
            row[1].contains(&format!("`{kind:?}`"))
                && row[2].contains(&format!("`{execution:?}`"))
                && rejection.as_ref().is_none_or(|it| row[1].contains(it))
        });
        let found: Vec<_> = found.collect();
        let Ok([(row, is_used)]) = <[_; 1]>::try_from(found) else {
            panic!("not one row is about {error:?}");
        };
        *is_used = true;
        // What is retryable except in one case has "unless" and the case.
        let says_retryable = row[3].starts_with("yes");
        let is_exception = row[3].contains("unless") && !is_retryable;
        assert_eq!(says_retryable && !is_exception, is_retryable, "{row:?}");
        assert_eq!(row[4] == "yes", is_connection_lost, "{row:?}");
    }
    for (row, is_used) in rows {
        // That of the user.
        assert!(is_used || row[1] == "`Other`", "{row:?}");
    }
}

#[test]
fn errors_of_servers_say_what_happened_and_why() {
    let addr = SocketAddr::from(([127, 0, 0, 1], 80));
    let errors = [
        Error::setting("linger", "is odd"),
        Error::address(":1", "no host"),
        Error::resolve("nowhere:1", cause()),
        Error::listen(addr, cause()),
        Error::accept(cause()),
        Error::start(cause()),
        Error::thread(cause()),
        Error::signals(cause()),
        Error::outside_runtime("bind()", ": call `run()`"),
        Error::inside_runtime("run()", "listen()"),
        Error::without_clock("call()"),
        Error::interrupted(7),
        Error::connect(addr, cause()),
        Error::connect_timed_out("far:1", LIMIT),
        #[cfg(unix)]
        Error::connect_path("/run/it.sock".as_ref(), cause()),
        #[cfg(feature = "tls")]
        Error::tls("the key", cause()),
        #[cfg(feature = "tls")]
        Error::handshake("far:1", &Peer::at(addr), cause()),
    ];
    let told = [
        (ErrorKind::Setting, "linger is odd"),
        (ErrorKind::Resolve, "cannot read the address `:1`: no host"),
        (ErrorKind::Resolve, "cannot resolve nowhere:1: cause"),
        (ErrorKind::Listen, "cannot listen on 127.0.0.1:80: cause"),
        (
            ErrorKind::Accept,
            "cannot accept connections any more: cause",
        ),
        (ErrorKind::Runtime, "cannot start a tokio runtime: cause"),
        (ErrorKind::Runtime, "cannot spawn a thread: cause"),
        (ErrorKind::Runtime, "cannot wait for signals: cause"),
        (
            ErrorKind::Runtime,
            "`bind()` was called outside of a tokio runtime: call `run()`",
        ),
        (
            ErrorKind::Runtime,
            "`run()` was called inside of a tokio runtime: call `listen()` and `.await` it",
        ),
        (
            ErrorKind::Runtime,
            "`call()` was called in a tokio runtime without a clock: build it with `enable_all` or `enable_time`",
        ),
        (ErrorKind::Interrupted, "ended at once; requests aborted: 7"),
        (ErrorKind::Connect, "cannot connect to 127.0.0.1:80: cause"),
        (
            ErrorKind::TimedOut,
            "cannot connect to far:1 within 3s (`connect_timeout`)",
        ),
        #[cfg(unix)]
        (ErrorKind::Connect, "cannot connect to /run/it.sock: cause"),
        #[cfg(feature = "tls")]
        (ErrorKind::Setting, "TLS: the key: cause"),
        #[cfg(feature = "tls")]
        (
            ErrorKind::Connect,
            "cannot connect to far:1 over TLS: cause",
        ),
    ];
    check(
        errors,
        told.map(|(kind, shown)| (kind, Execution::NotSent, shown)),
    );
    assert_eq!(Error::listen(addr, cause()).peer_addr(), Some(addr));
    assert_eq!(Error::connect(addr, cause()).peer_addr(), Some(addr));
}

#[test]
fn errors_of_requests_that_were_not_sent_say_why() {
    let peer = &Peer::unnamed();
    let errors = [
        Error::encode(EncodeError::new("cause")),
        Error::unsendable(FrameError::unsendable("cause")),
        Error::full("why"),
        Error::not_greeted(),
        Error::no_room(peer, late()),
        Error::closed_before_sent(peer).with_source(cause()),
        Error::closed_before_sent(peer),
        Error::broken_before_sent(peer, "why"),
        Error::ended_before_sent(peer, Rejection::busy("cause")),
    ];
    let told = [
        (ErrorKind::Request, "cannot encode the request: cause"),
        (ErrorKind::Request, "cannot send the request: cause"),
        (
            ErrorKind::Full,
            "the pipeline is full (why): receive a reply before the next request",
        ),
        (
            ErrorKind::Request,
            "the greeting of the server was not received: `receive` it, or `call` once, before many \
             tasks share the connection",
        ),
        (
            ErrorKind::TimedOut,
            "no room for a request to unnamed peer within 3s (`reply_timeout`): too many are in \
             flight (`max_in_flight`) or too large",
        ),
        (
            ErrorKind::Closed,
            "unnamed peer closed the connection before the request was sent: cause",
        ),
        (
            ErrorKind::Closed,
            "unnamed peer closed the connection before the request was sent",
        ),
        (
            ErrorKind::Broken,
            "the connection to unnamed peer is closed: why",
        ),
        (
            ErrorKind::Broken,
            "unnamed peer ended the connection: busy: cause",
        ),
    ];
    check(
        errors,
        told.map(|(kind, shown)| (kind, Execution::NotSent, shown)),
    );
}

#[test]
fn errors_of_requests_that_were_sent_say_what_happened_and_why() {
    let peer = &Peer::unnamed();
    let limit = Duration::from_millis(1_500);
    let rejected = |kind| Error::rejected(peer, Rejection::new(kind, "cause"));
    let errors = [
        rejected(RejectionKind::Busy),
        rejected(RejectionKind::Error),
        rejected(RejectionKind::Unknown),
        Error::read_timed_out(peer, late()),
        Error::write_timed_out(peer, LIMIT),
        Error::reply_timed_out(peer, PassedLimit::reply_timeout(limit)),
        Error::closed_before_reply(peer),
        Error::decode(peer, DecodeError::new("cause")),
        Error::no_frame(peer, FrameError::malformed("cause")),
        Error::broken_before_reply(peer, "why"),
        Error::write(peer, cause()),
        Error::read(peer, cause()),
        Error::too_large(peer, 9, 8),
        #[cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
        Error::wrong_operation(peer),
    ];
    let unknown = |kind, shown| (kind, Execution::Unknown, shown);
    let told = [
        (
            ErrorKind::Rejected,
            Execution::NotExecuted,
            "unnamed peer rejected the request: busy: cause",
        ),
        (
            ErrorKind::Rejected,
            Execution::Executed,
            "unnamed peer answered with an error: cause",
        ),
        unknown(
            ErrorKind::Rejected,
            "unnamed peer rejected the request: unknown rejection: cause",
        ),
        unknown(
            ErrorKind::TimedOut,
            "no complete message from unnamed peer within 3s (`reply_timeout`)",
        ),
        unknown(
            ErrorKind::TimedOut,
            "cannot send to unnamed peer within 3s (`reply_timeout`): it does not read",
        ),
        unknown(
            ErrorKind::TimedOut,
            "no reply from unnamed peer within 1.5s (`reply_timeout`)",
        ),
        unknown(
            ErrorKind::Closed,
            "unnamed peer closed the connection before it replied",
        ),
        unknown(
            ErrorKind::Reply,
            "cannot read the reply of unnamed peer: cause",
        ),
        unknown(
            ErrorKind::Reply,
            "cannot read what unnamed peer sent: cause",
        ),
        unknown(
            ErrorKind::Broken,
            "the connection to unnamed peer was lost: why",
        ),
        unknown(ErrorKind::Io, "cannot send to unnamed peer: cause"),
        unknown(ErrorKind::Io, "cannot receive from unnamed peer: cause"),
        unknown(
            ErrorKind::Reply,
            "cannot read what unnamed peer sent: a message of 9 bytes exceeds `max_reply_len` of 8 bytes",
        ),
        #[cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
        unknown(
            ErrorKind::Reply,
            "cannot read the reply of unnamed peer: the reply is that of another operation",
        ),
    ];
    check(errors, told);
}

/// Returns the cells of the rows of `docs/errors.md` whose first cell begins and ends with `mark`.
fn rows(mark: char) -> Vec<Vec<&'static str>> {
    let page = include_str!("../../docs/errors.md");
    let cells = |row: &'static str| row.split('|').map(str::trim).collect::<Vec<_>>();
    let rows = page.lines().skip_while(|line| !line.starts_with("|--"));
    rows.map(cells)
        .filter(|cells| cells.len() > 5 && cells[1].starts_with(mark) && cells[1] != "`ErrorKind`")
        .collect()
}

#[test]
fn page_has_a_row_for_each_kind() {
    let variants = include_str!("kind.rs")
        .lines()
        .take_while(|&line| line != "}");
    let names: Vec<_> = variants
        .filter_map(|line| line.strip_prefix("    ")?.strip_suffix(','))
        .collect();
    let listed: Vec<_> = rows('`')
        .iter()
        .map(|row| row[1].trim_matches('`'))
        .collect();
    assert_eq!(listed, names);
}

#[test]
fn page_says_what_errors_of_each_kind_say() {
    let peer = &Peer::unnamed();
    let other = (Error::other("cause"), false, false);
    let rejected = (0..0x80).filter_map(RejectionKind::from_code).map(|kind| {
        let error = Error::rejected(peer, Rejection::new(kind, "why"));
        let is_retryable = kind.is_temporary();
        (error, is_retryable, kind.is_final())
    });
    let cases: Vec<_> = verdicts()
        .into_iter()
        .chain([other])
        .chain(rejected)
        .collect();
    for row in rows('`') {
        let kind = row[1].trim_matches('`');
        let cases = cases
            .iter()
            .filter(|(error, ..)| format!("{:?}", error.kind()) == kind);
        let mut executions: Vec<_> = row[3].split(", ").collect();
        let (mut said, mut is_retryable) = (Vec::new(), Vec::new());
        for (error, retryable, _) in cases {
            said.push(format!("`{:?}`", error.execution()));
            is_retryable.push(*retryable);
        }
        said.sort();
        said.dedup();
        executions.sort_unstable();
        assert_eq!(executions, said, "{kind}");
        let always = is_retryable.iter().all(|&is_retryable| is_retryable);
        let never = !is_retryable.contains(&true);
        let expected = match row[4] {
            "yes" => always,
            "no" => never,
            depends => {
                (depends.starts_with("if ") || depends.starts_with("unless ")) && !always && !never
            }
        };
        assert!(expected, "{kind}: {}", row[4]);
    }
}

#[test]
fn page_says_what_rejections_are() {
    let mut kinds: Vec<_> = (0..0x80).filter_map(RejectionKind::from_code).collect();
    kinds.sort_by_key(|kind| kind.code());
    kinds.dedup();
    let rows = rows('*');
    assert_eq!(rows.len(), kinds.len());
    for (row, kind) in rows.iter().zip(kinds) {
        let error = Error::rejected(&Peer::unnamed(), Rejection::new(kind, "why"));
        // The two kinds that the function was begun for, and did not end.
        let executed = match (error.execution(), kind) {
            (Execution::NotSent | Execution::NotExecuted, _) => "no",
            (Execution::Unknown, _) => "unknown",
            (Execution::Executed, RejectionKind::TimedOut) => "in part",
            (Execution::Executed, RejectionKind::Failed) => "yes, or in part",
            (Execution::Executed, _) => "yes",
        };
        let yes = |is_true| if is_true { "yes" } else { "no" };
        let expected = [
            &format!("*{kind}*"),
            &format!("`{kind:?}`"),
            &format!("`{:#04x}`", kind.code()),
            row[4],
            executed,
            yes(kind.is_final()),
            yes(kind.is_temporary()),
        ];
        assert_eq!(row[1..8], expected);
    }
}

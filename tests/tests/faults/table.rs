//! What both sides share: what a framing is in the matrix, its messages, and its cells.

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use tcs::{
    framing::{Announcement, Exchanges, Framing, Notice, ReadState, Side},
    testing::LeakCheck,
};
use tcs_tests::{
    Over,
    cutting::{Found, Read, read_until},
};
use tokio::{runtime::Builder, task::JoinSet};

/// A framing of the matrix, with what the tests must know about it.
pub(crate) trait Row: Send + Sync + 'static {
    type Framing: Framing;
    const ATTRIBUTES: Attributes;
}

/// What the tests must know about a framing.
pub(crate) struct Attributes {
    /// Whether it is one of those that are used most.
    pub(crate) is_chosen: bool,
    /// Whether a message is what the sender has sent, however it arrives.
    pub(crate) is_exact: bool,
    /// Whether no message is longer than another.
    pub(crate) is_fixed: bool,
    /// What it wants to stand before the message.
    pub(crate) header: &'static [u8],
    /// How many cells it has.
    pub(crate) cells: usize,
}

impl Attributes {
    pub(crate) const ORDINARY: Self = Self {
        is_chosen: false,
        is_exact: true,
        is_fixed: false,
        header: b"",
        cells: 0,
    };
}

/// Defines the framings: a module for each public one, with the tests of its cells.
///
/// `Codec` is not among them: its messages are those of the codec inside.
macro_rules! matrix {
    ($($name:ident: $framing:ty { $($attribute:ident: $value:expr),* $(,)? })*) => {
        /// The names of the framings.
        const NAMES: &[&str] = &[$(stringify!($name)),*];

        $(
        mod $name {
            #[allow(unused_imports, reason = "each framing has its own names")]
            use tcs::framing::*;
            #[allow(unused_imports, reason = "only one framing needs it")]
            use tcs_tests::naive::Plus;

            use crate::table::{Attributes, Row, run};

            pub(crate) enum It {}

            impl Row for It {
                type Framing = $framing;
                #[allow(clippy::needless_update, reason = "one framing may have all attributes")]
                const ATTRIBUTES: Attributes = Attributes {
                    $($attribute: $value,)*
                    ..Attributes::ORDINARY
                };
            }

            #[test]
            fn server() {
                run("server", stringify!($name), crate::server::cells::<It>(), It::ATTRIBUTES.cells);
            }
        }
        )*
    };
}

/// Defines the tests of the cells of clients: for the framings with channels, and how many cells each has.
macro_rules! clients {
    ($($name:ident: $cells:literal)*) => {
        /// The names of the framings with channels.
        const WITH_CHANNELS: &[&str] = &[$(stringify!($name)),*];

        mod clients {$(
            #[test]
            fn $name() {
                let cells = crate::client::cells::<crate::$name::It>();
                crate::table::run("client", stringify!($name), cells, $cells);
            }
        )*}
    };
}

/// A cell: its name, and what runs it.
pub(crate) type Cell = (String, Pin<Box<dyn Future<Output = ()> + Send>>);

/// How many cells run at the same time, so that the limits of many pass together.
const TOGETHER: usize = 256;

/// The cells of a test.
#[derive(Default)]
pub(crate) struct Cells {
    /// Those on a paused clock.
    pub(crate) paused: Vec<Cell>,
    /// Those of sockets, and of functions that block threads.
    pub(crate) real: Vec<Cell>,
}

/// Runs the cells. Fails with the name of a cell that fails, if something is left over, or if there are more or fewer
/// cells than expected.
pub(crate) fn run(side: &str, framing: &str, cells: Cells, expected: usize) {
    let only = env::var("TCS_CELL").ok();
    let only = only.as_deref();
    let row = format!("{side}/{framing}");
    let mut paused = Builder::new_current_thread();
    paused.start_paused(true);
    let mut real = Builder::new_multi_thread();
    real.worker_threads(2);
    let count =
        run_on(&mut paused, &row, cells.paused, only) + run_on(&mut real, &row, cells.real, only);
    println!("{row}: {count} cells");
    match only {
        Some(only) => assert!(
            count == 1 || (count == 0 && is_of_another_row(&row, only)),
            "no cell is called {only}"
        ),
        None if is_full() => {}
        None => assert_eq!(count, expected, "cells of {row}"),
    }
}

/// Whether the cell is of another row. Each test sees the name of the cell, and that of its row must have it.
fn is_of_another_row(row: &str, cell: &str) -> bool {
    let names: Vec<_> = cell.splitn(3, '/').collect();
    let is_a_row = |side: &str, framing: &str| match side {
        "server" => crate::NAMES.contains(&framing),
        "client" => crate::WITH_CHANNELS.contains(&framing),
        _ => false,
    };
    match names[..] {
        [side, framing, _] => is_a_row(side, framing) && format!("{side}/{framing}") != row,
        _ => false,
    }
}

fn is_full() -> bool {
    env::var("TCS_MATRIX").is_ok_and(|it| it == "full")
}

fn run_on(runtime: &mut Builder, row: &str, cells: Vec<Cell>, only: Option<&str>) -> usize {
    let cells = cells
        .into_iter()
        .map(|(name, cell)| (format!("{row}/{name}").to_lowercase(), cell))
        .filter(|(name, _)| only.is_none_or(|only| only == name));
    let mut cells = cells.peekable();
    let runtime = runtime.enable_all().build().expect("a runtime");
    let mut count = 0;
    runtime.block_on(async {
        let leaks = LeakCheck::new();
        while cells.peek().is_some() {
            let mut together = JoinSet::new();
            for (name, cell) in cells.by_ref().take(TOGETHER) {
                count += 1;
                together.spawn(Named { name, cell });
            }
            while let Some(ended) = together.join_next().await {
                ended.expect("the cell holds");
            }
        }
        leaks.assert_none().await;
    });
    count
}

/// Says which cell has panicked.
struct Named {
    name: String,
    cell: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Future for Named {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let polled = catch_unwind(AssertUnwindSafe(|| this.cell.as_mut().poll(cx)));
        polled.unwrap_or_else(|panic| {
            println!(
                "TCS_CELL={} cargo test -p tcs-tests --test faults",
                this.name
            );
            resume_unwind(panic)
        })
    }
}

/// Returns `true` if a framing is part of the matrix over this transport. What a transport adds does not depend on the
/// framing or on the kind of function, so that there most have one kind of function, and over the slower ones are few.
pub(crate) fn is_in_matrix<R: Row>(over: Over, is_typical: bool) -> bool {
    let is_chosen = R::ATTRIBUTES.is_chosen;
    let is_enough = match over {
        Over::Memory => true,
        Over::Tcp | Over::Unix | Over::Tls => is_typical && is_chosen,
    };
    is_full() || is_enough
}

/// Returns a seed that is the cell's own.
pub(crate) fn seed(name: &str) -> u64 {
    let bytes = name.bytes().map(u64::from);
    bytes.fold(0, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte))
}

/// Whether a connection has more than one exchange.
pub(crate) fn has_many<R: Row>() -> bool {
    matches!(R::Framing::EXCHANGES, Exchanges::Many)
}

/// Whether the end of input ends a request.
pub(crate) fn ends_with_eof<R: Row>() -> bool {
    matches!(R::Framing::EXCHANGES, Exchanges::OneUntilHalfClose)
}

/// A message: what the framing wants to stand before it, a command, and a number.
pub(crate) fn message<R: Row>(command: u8, number: u8) -> Vec<u8> {
    [
        R::ATTRIBUTES.header,
        format!("{command}{number:02} ").as_bytes(),
    ]
    .concat()
}

/// Returns the command and the number of a message of [`message`], which may be longer.
pub(crate) fn parsed<R: Row>(message: &[u8]) -> Option<(u8, u8)> {
    let text = message.get(R::ATTRIBUTES.header.len()..)?;
    // Its last byte is one of these, so that a part of it is none.
    let digits = str::from_utf8(text).ok()?.strip_suffix(' ')?;
    let digits = digits.trim_end_matches(' ');
    let number: u16 = (digits.len() == 3).then(|| digits.parse().ok())??;
    Some((
        u8::try_from(number / 100).ok()?,
        u8::try_from(number % 100).ok()?,
    ))
}

/// The bytes of one message from this side, with what announces it.
pub(crate) fn encode<R: Row>(
    side: Side,
    id: u32,
    message: &[u8],
    announced: Option<Announcement>,
) -> Vec<u8> {
    let (mut framing, mut out) = (R::Framing::default(), Vec::new());
    framing.set_side(side);
    framing.set_id(id);
    if let Some(announcement) = announced {
        framing.notice(&mut out, Notice::Announce(announcement, 1));
    }
    let start = out.len();
    framing.begin(&mut out);
    out.extend_from_slice(message);
    framing.finish(&mut out, start).expect("it can be sent");
    out
}

/// Returns what this side has read.
pub(crate) fn found<R: Row>(side: Side, bytes: &[u8], is_over: bool) -> Read {
    let read_state = if is_over {
        ReadState::Eof
    } else {
        ReadState::Idle
    };
    read_until::<R::Framing>(side, &[bytes], read_state, 1 << 24)
}

/// Returns the commands and numbers in what this side has read.
pub(crate) fn decode<R: Row>(side: Side, bytes: &[u8], is_over: bool) -> Vec<(u8, u8)> {
    let read = found::<R>(side, bytes, is_over);
    let messages = read.found.iter().filter_map(|found| match found {
        Found::Message(message) | Found::Announced(_, message) => parsed::<R>(message),
        _ => None,
    });
    messages.collect()
}

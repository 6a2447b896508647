//! What both sides share: the framings and transports of the matrix, and its cells.

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use tcs::{
    framing::{Announcement, Exchanges, Framing, ReadState, Side},
    testing::{LeakCheck, Pipe},
};
use tcs_tests::{
    Io, Over,
    cutting::{Found, read_until},
};
use tokio::{
    net::{TcpStream, UnixStream},
    runtime::Builder,
    task::JoinSet,
};

/// Makes a test of the cells of each public framing, `cells::<Framing>()`.
///
/// `Codec` is not among them: its messages are those of the codec inside.
macro_rules! matrix {
    ($test:ident) => {
        matrix! { @each $test
            length_prefixed: LengthPrefixed;
            multiplexed: Multiplexed;
            lines: Lines;
            crlf_lines: CrlfLines;
            crlf_text: CrlfText;
            code_lines: Duplex<CrlfText, CodeLines>;
            blocks: Blocks<Plus>;
            content_length: ContentLength;
            delimited: Delimited<{ delimiter(b";") }>;
            digits: Digits<b' '>;
            fixed: Fixed<4>;
            hex4: Hex4;
            length_field: LengthField<{ length_field(2).offset(4).pack() }>;
            netstrings: Netstrings;
            prefixed_1: Prefixed<1>;
            prefixed_2_little: Prefixed<2, { LITTLE_ENDIAN }>;
            varint: Varint;
            varint_header: Varint<1>;
            lines_verbatim: Duplex<Lines, Verbatim>;
            verbatim: Verbatim;
            until_eof: UntilEof;
            raw: Raw;
        }
    };
    (@each $test:ident $($name:ident: $framing:ty;)*) => {$(
        mod $name {
            #[allow(unused_imports, reason = "each framing has its own names")]
            use tcs::framing::*;
            #[allow(unused_imports, reason = "only one framing needs it")]
            use tcs_tests::naive::Plus;

            use crate::table::run;

            #[test]
            fn $test() {
                run(stringify!($name), super::cells::<$framing>());
            }
        }
    )*};
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

/// Runs the cells. Fails with the name of a cell that fails, or if something is left over.
pub(crate) fn run(framing: &str, cells: Cells) {
    let mut paused = Builder::new_current_thread();
    paused.start_paused(true);
    let mut real = Builder::new_multi_thread();
    real.worker_threads(2);
    let count = run_on(&mut paused, framing, cells.paused) + run_on(&mut real, framing, cells.real);
    println!("{framing}: {count} cells");
}

fn run_on(runtime: &mut Builder, framing: &str, cells: Vec<Cell>) -> usize {
    let only = env::var("TCS_CELL").ok();
    let cells = cells
        .into_iter()
        .map(|(name, cell)| (format!("{framing}/{name}").to_lowercase(), cell))
        .filter(|(name, _)| only.as_ref().is_none_or(|only| only == name));
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

/// Returns whether a framing is part of the matrix over this transport. What a transport adds does not depend on the
/// framing or on the kind of function, so that there most have one kind of function, and over the slower ones are few.
pub(crate) fn is_in_matrix<F: Framing>(over: Over, is_typical: bool) -> bool {
    let is_full = env::var("TCS_MATRIX").is_ok_and(|it| it == "full");
    let is_enough = match over {
        Over::Memory => true,
        Over::Tcp => is_typical || is_chosen::<F>(),
        Over::Unix | Over::Tls => is_typical && is_chosen::<F>(),
    };
    is_full || is_enough
}

/// Returns whether it is one of those that are used most.
pub(crate) fn is_chosen<F: Framing>() -> bool {
    let names = ["LengthPrefixed", "Multiplexed", "::Lines"];
    let name = std::any::type_name::<F>();
    names.iter().any(|it| name.ends_with(it))
}

/// Whether a message is what the sender has sent, however it arrives.
pub(crate) fn is_exact<F: Framing>() -> bool {
    let name = std::any::type_name::<F>();
    !name.contains("::Verbatim") && !name.ends_with("::Raw")
}

/// Whether a connection has more than one exchange.
pub(crate) fn has_many<F: Framing>() -> bool {
    matches!(F::EXCHANGES, Exchanges::Many)
}

/// Whether the end of input ends a request.
pub(crate) fn ends_with_eof<F: Framing>() -> bool {
    matches!(F::EXCHANGES, Exchanges::OneUntilHalfClose)
}

/// A message: what the framing wants to stand before it, a command, and a number.
pub(crate) fn message<F: Framing>(command: u8, number: u8) -> Vec<u8> {
    [header::<F>(), format!("{command}{number:02} ").into_bytes()].concat()
}

pub(crate) fn header<F: Framing>() -> Vec<u8> {
    let name = std::any::type_name::<F>();
    let header: &[u8] = match () {
        () if name.contains("Hex4") => b"0000",
        () if name.contains("LengthField") => &[0; 6],
        () if name.contains("Varint<1>") => &[0x30, 0],
        () => b"",
    };
    header.to_vec()
}

/// Returns the command and the number of a message of [`message`].
pub(crate) fn parsed<F: Framing>(message: &[u8]) -> Option<(u8, u8)> {
    let text = message.get(header::<F>().len()..)?;
    let digits = str::from_utf8(text.strip_suffix(b" ")?).ok()?;
    let number: u16 = (digits.len() == 3).then(|| digits.parse().ok())??;
    Some((
        u8::try_from(number / 100).ok()?,
        u8::try_from(number % 100).ok()?,
    ))
}

/// The bytes of one message from this side, with what announces it.
pub(crate) fn encode<F: Framing>(
    side: Side,
    id: u32,
    message: &[u8],
    announced: Option<Announcement>,
) -> Vec<u8> {
    let (mut framing, mut out) = (F::default(), Vec::new());
    framing.set_side(side);
    framing.set_id(id);
    if let Some(announcement) = announced {
        framing.announce(&mut out, announcement, 1);
    }
    let start = out.len();
    framing.begin(&mut out);
    out.extend_from_slice(message);
    framing.finish(&mut out, start).expect("it can be sent");
    out
}

/// Returns the commands and numbers in what this side has read.
pub(crate) fn decode<F: Framing>(side: Side, bytes: &[u8], is_over: bool) -> Vec<(u8, u8)> {
    let read_state = if is_over {
        ReadState::Eof
    } else {
        ReadState::Idle
    };
    let read = read_until::<F>(side, &[bytes], read_state, 1 << 24);
    let messages = read.found.iter().filter_map(|found| match found {
        Found::Message(message) | Found::Announced(_, message) => parsed::<F>(message),
        _ => None,
    });
    messages.collect()
}

/// One end of a connection, without any of the library's code.
pub(crate) enum Link {
    Memory(Pipe),
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<dyn Secured>),
}

/// A connection of TLS over TCP, at either end.
pub(crate) trait Secured: Io {
    fn tcp(&self) -> &TcpStream;
}

impl Secured for tokio_rustls::client::TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

impl Secured for tokio_rustls::server::TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

impl Link {
    pub(crate) fn io(&mut self) -> &mut dyn Io {
        match self {
            Self::Memory(stream) => stream,
            Self::Tcp(stream) => stream,
            Self::Unix(stream) => stream,
            Self::Tls(stream) => stream,
        }
    }

    /// Resets the connection. Unix sockets have no reset, except for one that is closed with unread bytes.
    pub(crate) fn reset(self) {
        match self {
            Self::Memory(stream) => stream.reset(),
            Self::Tcp(stream) => stream.set_zero_linger().expect("TCP has it"),
            Self::Tls(stream) => stream.tcp().set_zero_linger().expect("TCP has it"),
            Self::Unix(_) => {}
        }
    }
}

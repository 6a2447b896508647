//! Framings: what they find does not depend on how a stream is cut, and is what the naive decoders find.

use arbitrary::{Arbitrary, Unstructured};
use tcs::framing::{Framing, Input, OtherProtocol, ReadState, Side};
use tcs_tests::{
    cutting::{Found, pieces, read, write, write_one},
    every_framing,
    naive::{self, Naive},
};

#[derive(Arbitrary, Debug)]
struct Case<'a> {
    framing: u8,
    is_client: bool,
    limit: u8,
    cuts: Vec<u8>,
    stream: &'a [u8],
}

/// Checks a framing.
type Check = fn(Naive, &Case<'_>);

/// Reads a stream of any bytes, or of those that mean something.
pub fn check(data: &[u8]) {
    let Ok(case) = Case::arbitrary_take_rest(Unstructured::new(data)) else {
        return;
    };
    let mut checks: Vec<(Check, Naive)> = Vec::new();
    macro_rules! collect {
        ($($name:ident: $framing:ty, $naive:ident;)*) => {
            $(checks.push((check_framing::<$framing>, naive::$naive));)*
        };
    }
    every_framing!(collect);
    let (check, naive) = checks[usize::from(case.framing) % checks.len()];
    check(naive, &case);
}

fn check_framing<F: Framing>(naive: Naive, case: &Case<'_>) {
    let likely: Vec<_> = case
        .stream
        .iter()
        .map(|byte| naive.alphabet[usize::from(*byte) % naive.alphabet.len()])
        .collect();
    for stream in [case.stream, &likely] {
        cut_anywhere::<F>(case, stream);
        never_panics::<F>(case, stream);
    }
    // The one that has a fixed length cannot have a lower limit.
    agrees::<F>(naive, &likely, usize::from(case.limit.max(4)));
    comes_back::<F>(naive, case);
}

fn side(case: &Case<'_>) -> Side {
    if case.is_client {
        Side::Client
    } else {
        Side::Server
    }
}

fn cut_anywhere<F: Framing>(case: &Case<'_>, stream: &[u8]) {
    // The text of an error may say how much has arrived.
    let read = |pieces: &[&[u8]]| {
        let (found, error) = read::<F>(side(case), pieces, case.limit.into());
        (found, error.is_some())
    };
    let whole = read(&[stream]);
    let cuts = case.cuts.iter().map(|cut| usize::from(*cut)).collect();
    assert_eq!(read(&pieces(stream, cuts)), whole);
    assert_eq!(read(&stream.chunks(1).collect::<Vec<_>>()), whole);
}

fn never_panics<F: Framing>(case: &Case<'_>, stream: &[u8]) {
    for state in [ReadState::MaybeMore, ReadState::Idle, ReadState::Eof] {
        let mut framing = F::default();
        let middle = stream.len() / 2;
        for input in [&stream[..middle], stream, &stream[middle..]] {
            for limit in [usize::from(case.limit), usize::MAX] {
                drop(framing.parse(Input::new(input, limit, side(case), state)));
            }
        }
    }
}

/// Where the naive decoder stops, this one stops as well.
fn agrees<F: Framing>(naive: Naive, stream: &[u8], limit: usize) {
    if is_of_another_protocol(stream) {
        return;
    }
    let (mut rest, mut expected) = (stream, Vec::new());
    while let Some((message, behind)) = (naive.decode)(rest)
        && message.len() <= limit
    {
        expected.push(Found::Message(message.to_vec()));
        rest = behind;
        if rest.is_empty() {
            break;
        }
    }
    let (mut found, error) = read::<F>(Side::Server, &[stream], limit);
    // Of a message that is skipped, only the length is looked at, so what is behind it may be found elsewhere.
    let skipped = found
        .iter()
        .position(|it| matches!(it, Found::Oversized(_)));
    found.truncate(skipped.unwrap_or(found.len()));
    assert_eq!(found, expected);
    assert_eq!(error.is_some() || skipped.is_some(), !rest.is_empty());
}

/// A message that can be written is what is read.
fn comes_back<F: Framing>(naive: Naive, case: &Case<'_>) {
    assert_eq!(
        write_one::<F>(case.stream).ok(),
        (naive.encode)(case.stream)
    );
    let message = (naive.fit)(case.stream.to_vec());
    let stream = write::<F>(std::slice::from_ref(&message));
    if is_of_another_protocol(&stream) {
        return;
    }
    let bytes: Vec<_> = stream.chunks(1).collect();
    let found = read::<F>(side(case), &bytes, message.len());
    assert_eq!(found, (vec![Found::Message(message)], None));
}

/// Returns `true` if a stream may begin as those of another protocol do. Its first message can then be an error.
fn is_of_another_protocol(stream: &[u8]) -> bool {
    let of_servers: [&[u8]; 4] = [b"HTTP/", b"SSH-", b"-ERR", b"\x15\x03"];
    OtherProtocol::detect(stream).is_some()
        || of_servers.iter().any(|start| stream.starts_with(start))
}

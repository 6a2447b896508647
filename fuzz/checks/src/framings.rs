//! Framings: what they find does not depend on how a stream is cut, and is what the naive decoders find.

use arbitrary::{Arbitrary, Unstructured};
use tcs::framing::{FrameError, Framing, Input, ReadState, Side};
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
    if is_of_another_protocol(error.as_ref()) {
        return;
    }
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
    // It may be longer than a length of this framing can say.
    if write_one::<F>(&message).is_err() {
        return;
    }
    let stream = write::<F>(std::slice::from_ref(&message));
    let bytes: Vec<_> = stream.chunks(1).collect();
    let (found, error) = read::<F>(side(case), &bytes, message.len());
    if is_of_another_protocol(error.as_ref()) {
        return;
    }
    assert_eq!((found, error), (vec![Found::Message(message)], None));
}

/// Returns `true` if the first message was taken for one of another protocol.
fn is_of_another_protocol(error: Option<&FrameError>) -> bool {
    error
        .map(FrameError::to_string)
        .is_some_and(|text| text.starts_with("the server ") || text.contains("that looks like"))
}

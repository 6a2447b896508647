//! The framings of `docs/protocols.md` compile.

use std::collections::BTreeSet;

use tcs::framing::{
    BlockLen, Blocks, CodeLines, ContentLength, CrlfLines, CrlfText, DOT_END, Delimited, Digits,
    Duplex, Fixed, Framing, Hex4, LITTLE_ENDIAN, LengthField, Lines, NO_TELNET, Netstrings,
    Prefixed, UntilEof, Varint, Verbatim, delimiter, length_field, prompt,
};

const PAGE: &str = include_str!("../../../docs/protocols.md");

/// The user's type in the row of `Blocks`.
enum Puts {}

impl BlockLen for Puts {
    fn block_len(_line: &str) -> Option<u64> {
        None
    }
}

fn text_of<F: Framing>(name: &str) -> String {
    assert_eq!(F::PARAMETER_ERROR, None, "{name}");
    without_spaces(name)
}

fn without_spaces(text: &str) -> String {
    text.split_whitespace().collect()
}

macro_rules! framings {
    ($($framing:ty),+ $(,)?) => {
        BTreeSet::from([$(text_of::<$framing>(stringify!($framing))),+])
    };
}

#[test]
fn framings_of_the_table_compile() {
    let compiled = framings![
        Prefixed<2>,
        Prefixed<4>,
        Prefixed<4, LITTLE_ENDIAN>,
        Varint,
        Varint<1>,
        Digits<b' '>,
        Netstrings,
        Hex4,
        LengthField<{ length_field(2).offset(4).pack() }>,
        LengthField<{ length_field(3).little_endian().adjustment(1).pack() }>,
        LengthField<{ length_field(4).offset(1).adjustment(-4).pack() }>,
        LengthField<{ length_field(4).little_endian().adjustment(-4).pack() }>,
        LengthField<{ length_field(4).offset(3).adjustment(1).pack() }>,
        LengthField<{ length_field(4).adjustment(-4).pack() }>,
        LengthField<{ length_field(4).offset(5).pack() }>,
        LengthField<{ length_field(4).offset(8).pack() }>,
        LengthField<{ length_field(2).offset(2).adjustment(-4).pack() }>,
        LengthField<{ length_field(2).offset(16).adjustment(-18).pack() }>,
        LengthField<{ length_field(3).offset(1).adjustment(-4).pack() }>,
        CrlfText,
        CrlfText<NO_TELNET>,
        CrlfText<DOT_END>,
        CrlfText<{ prompt(b"> ") }>,
        Duplex<CrlfText, CodeLines>,
        CrlfLines,
        Lines,
        Duplex<Delimited<{ delimiter(b"\r") }>, Verbatim>,
        Duplex<Netstrings, UntilEof>,
        Delimited<{ delimiter(b"\x1c\r") }>,
        Delimited<{ delimiter(b"\0") }>,
        Duplex<CrlfText, UntilEof>,
        Blocks<Puts>,
        ContentLength,
        Verbatim,
        Fixed<32>,
    ];
    let table = PAGE.lines().filter(|line| line.starts_with("| "));
    let shown = table.filter_map(|row| row.split(" | ").nth(1));
    let shown = shown.filter_map(|cell| cell.strip_prefix('`')?.strip_suffix('`'));
    let shown: BTreeSet<_> = shown
        .filter(|framing| *framing != "framing =")
        .map(without_spaces)
        .collect();
    assert_eq!(shown, compiled);
}

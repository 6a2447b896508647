//! The fault matrix: every fault in every state of a connection, with every framing, over every transport, of servers
//! (`server`) and of clients (`client`); and the faults of a real kernel (`kernel`).
//!
//! A cell that fails is named, and `TCS_CELL=NAME cargo test -p tcs-tests --test faults` runs it alone. Each test prints
//! how many cells it has (`-- --nocapture`). `TCS_MATRIX=full` has every framing over every transport.

#![cfg(target_os = "linux")]

#[macro_use]
mod table;
mod client;
mod kernel;
mod peer;
mod server;

matrix! {
    length_prefixed: LengthPrefixed { is_chosen: true, cells: 667 }
    multiplexed: Multiplexed { is_chosen: true, cells: 667 }
    lines: Lines { is_chosen: true, cells: 667 }
    crlf_lines: CrlfLines { cells: 391 }
    crlf_text: CrlfText { cells: 391 }
    code_lines: Duplex<CrlfText, CodeLines> { cells: 391 }
    blocks: Blocks<Plus> { cells: 391 }
    content_length: ContentLength { cells: 391 }
    delimited: Delimited<{ delimiter(b";") }> { cells: 391 }
    digits: Digits<b' '> { cells: 391 }
    fixed: Fixed<4> { is_fixed: true, cells: 347 }
    hex4: Hex4 { header: b"0000", cells: 391 }
    length_field: LengthField<{ length_field(2).offset(4).pack() }> { header: &[0; 6], cells: 391 }
    netstrings: Netstrings { cells: 391 }
    prefixed_1: Prefixed<1> { cells: 391 }
    prefixed_2_little: Prefixed<2, { LITTLE_ENDIAN }> { cells: 391 }
    varint: Varint { cells: 391 }
    varint_header: Varint<1> { header: &[0x30, 0], cells: 391 }
    lines_verbatim: Duplex<Lines, Verbatim> { is_exact: false, cells: 174 }
    verbatim: Verbatim { is_exact: false, cells: 174 }
    until_eof: UntilEof { cells: 234 }
    raw: Raw { is_exact: false, cells: 100 }
}

// `Multiplexed` has tests of its own in `client`: over a connection it has no pipelines, and over a channel it has streams.
clients! {
    length_prefixed: 126
    lines: 107
    crlf_lines: 107
    crlf_text: 107
    code_lines: 107
    blocks: 107
    content_length: 107
    delimited: 107
    digits: 107
    fixed: 107
    hex4: 107
    length_field: 107
    netstrings: 107
    prefixed_1: 107
    prefixed_2_little: 107
    varint: 107
    varint_header: 107
}

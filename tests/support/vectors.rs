//! The vectors of `WIRE.md`, as the tests read them.

pub const WIRE: &str = include_str!("../../WIRE.md");

const START: &str = "```vectors ";

/// Returns the lines of the blocks of this name, each with its number in the file.
pub fn lines(name: &str) -> impl Iterator<Item = (usize, &'static str)> {
    let mut block = None;
    WIRE.lines().zip(1..).filter_map(move |(line, number)| {
        if let Some(name) = line.strip_prefix(START) {
            block = Some(name);
            return None;
        }
        if line == "```" {
            block = None;
        }
        (block == Some(name)).then_some((number, line))
    })
}

/// Returns the names of the blocks.
pub fn names() -> impl Iterator<Item = &'static str> {
    WIRE.lines().filter_map(|line| line.strip_prefix(START))
}

/// Reads the bytes in a vector: pairs of hexadecimal digits, text in quotation marks, and
/// `(bytes)*count`.
pub fn bytes(mut written: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !written.is_empty() {
        let mut rest = written.chars();
        if let Some(mark @ ('"' | '\'')) = rest.next() {
            loop {
                let character = match rest.next().expect("its end") {
                    end if end == mark => break,
                    '\\' => match rest.next() {
                        Some('n') => '\n',
                        Some('r') => '\r',
                        Some(itself @ ('\\' | '"' | '\'')) => itself,
                        other => panic!("unknown escape {other:?}"),
                    },
                    other => other,
                };
                bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        } else if let Some(group) = written.strip_prefix('(') {
            let (group, behind) = group.split_once(")*").expect("its end");
            let (count, behind) = behind.split_once(' ').unwrap_or((behind, ""));
            let count = count.parse().expect("a count");
            bytes.extend(self::bytes(group).repeat(count));
            rest = behind.chars();
        } else {
            let (digits, behind) = written.split_at(2);
            bytes.push(u8::from_str_radix(digits, 16).expect("hexadecimal digits"));
            rest = behind.chars();
        }
        let rest = rest.as_str();
        written = rest.strip_prefix(' ').unwrap_or(rest);
    }
    bytes
}

/// Writes bytes as pairs of hexadecimal digits.
pub fn shown(bytes: &[u8]) -> String {
    let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.join(" ")
}

//! Converts bytes to text that people can write and that changes no terminal, and back.

use std::fmt::Write as _;

/// Returns the bytes of hexadecimal digits. Blanks between bytes are skipped.
pub(crate) fn from_hex(text: &str) -> Result<Vec<u8>, String> {
    let is_digit = |it: &char| !it.is_whitespace() && *it != ':';
    let digits: Vec<char> = text.chars().filter(is_digit).collect();
    let byte = |pair: &[char]| match *pair {
        [high, low] => u8::try_from(high.to_digit(16)? << 4 | low.to_digit(16)?).ok(),
        _ => None,
    };
    let bytes = digits.chunks(2).map(|pair| {
        byte(pair).ok_or_else(|| {
            let pair: String = pair.iter().collect();
            format!("`{pair}` is not a byte of two hexadecimal digits")
        })
    });
    bytes.collect()
}

/// Returns bytes as pairs of hexadecimal digits.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(" ")
}

/// Returns JSON without blanks between its parts, and with escapes for what would change a terminal.
pub(crate) fn one_line(json: &str) -> String {
    let mut line = String::new();
    let (mut is_text, mut is_escape) = (false, false);
    for character in json.chars() {
        match character {
            _ if is_escape => is_escape = false,
            '\\' => is_escape = true,
            '"' => is_text = !is_text,
            ' ' | '\n' | '\r' | '\t' if !is_text => continue,
            _ => {}
        }
        push_json(&mut line, character);
    }
    line
}

/// Returns JSON with its line ends, and with escapes for what would change a terminal.
pub(crate) fn escaped_json(json: &str) -> String {
    let mut shown = String::new();
    for character in json.chars() {
        match character {
            '\n' => shown.push('\n'),
            _ => push_json(&mut shown, character),
        }
    }
    shown
}

fn push_json(text: &mut String, character: char) {
    if is_harmful(character) {
        for unit in character.encode_utf16(&mut [0; 2]) {
            let _infallible = write!(text, "\\u{unit:04x}");
        }
    } else {
        text.push(character);
    }
}

/// Returns `true` for what changes a terminal, or how text looks: control characters, and invisible ones, such as those
/// that reverse the direction of the text after them.
fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Returns text without characters that would change a terminal. Line ends and tabs stay.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' | '\t' => shown.push(character),
                '\r' => shown.push_str("\\r"),
                character if is_harmful(character) => shown.extend(character.escape_unicode()),
                character => shown.push(character),
            }
        }
        for byte in chunk.invalid() {
            shown.extend(["\\x", &to_hex(&[*byte])]);
        }
    }
    shown
}

/// Returns the bytes of text with the escapes `\n`, `\r`, `\t`, `\0`, `\\`, `\"` and `\xNN`.
pub(crate) fn unescaped(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        if character != '\\' {
            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        bytes.push(match rest.next() {
            Some('n') => b'\n',
            Some('r') => b'\r',
            Some('t') => b'\t',
            Some('0') => 0,
            Some('\\') => b'\\',
            Some('"') => b'"',
            Some('x') => {
                let digits: String = rest.by_ref().take(2).collect();
                match from_hex(&digits)?.as_slice() {
                    [byte] => *byte,
                    _ => return Err(r"`\x` needs two hexadecimal digits".to_owned()),
                }
            }
            other => {
                let other = other.map(String::from).unwrap_or_default();
                return Err(format!(
                    r"`\{other}` is not an escape; there are \n, \r, \t, \0, \\ and \xNN"
                ));
            }
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_digits_are_bytes() {
        assert_eq!(from_hex("00 ff0A:7f"), Ok(vec![0, 255, 10, 127]));
        for wrong in ["0", "0g", "+1", "é0"] {
            assert!(from_hex(wrong).is_err(), "{wrong}");
        }
        assert_eq!(to_hex(&[0, 255, 10]), "00 ff 0a");
    }

    #[test]
    fn escapes_are_read_and_shown() {
        let bytes = unescaped(r"a\r\n\x00\xff\\é").expect("they are escapes");
        assert_eq!(bytes, b"a\r\n\0\xff\\\xc3\xa9");
        assert_eq!(escaped(&bytes), "a\\r\n\\u{0}\\xff\\é");
        for wrong in [r"\q", "\\", r"\x0", r"\xzz"] {
            assert!(unescaped(wrong).is_err(), "{wrong}");
        }
        assert_eq!(escaped(b"\x1b[2J"), "\\u{1b}[2J");
    }

    #[test]
    fn nothing_shown_changes_a_terminal() {
        for (character, shown) in [
            ('\u{7f}', "\\u{7f}"),
            ('\u{9b}', "\\u{9b}"),
            ('\u{202e}', "\\u{202e}"),
            ('\u{2066}', "\\u{2066}"),
            ('\u{200b}', "\\u{200b}"),
            ('\u{e0041}', "\\u{e0041}"),
            ('é', "é"),
        ] {
            assert_eq!(escaped(character.to_string().as_bytes()), shown);
        }
    }
}

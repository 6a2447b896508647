//! Peers that have begun to speak another protocol, and are not to be answered in this one.

/// Tells whether the first bytes of a connection, of which more may be to come, are more likely
/// HTTP, TLS or SSH than anything else.
pub(crate) fn seems_foreign(bytes: &[u8]) -> bool {
    // RFC 8446, section 5.1: a handshake record of version 3.0 to 3.3; RFC 4253, section 4.2.
    if matches!(bytes, [0x16, 0x03, 0..=3, ..]) || bytes.starts_with(b"SSH-") {
        return true;
    }
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or(bytes);
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return false;
    };
    let is_target = method == b"CONNECT" || matches!(target, [b'/' | b'*', ..]);
    METHODS.contains(&method) && (is_target || target.starts_with(b"http"))
}

/// Those of RFC 9110, section 9, of RFC 5789, and of the preface of HTTP/2.
const METHODS: [&[u8]; 10] = [
    b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH", b"PRI",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_of_other_protocols_are_recognised() {
        let tls = b"\x16\x03\x01\x02\0\x01\0";
        let ssh = b"SSH-2.0-OpenSSH_9.9\r\n";
        for bytes in [
            &tls[..],
            ssh,
            b"GET / HT",
            b"GET /",
            b"CONNECT a:1 HTTP/1.1\r\n\r\n",
            b"OPTIONS * HTTP/1.1",
            b"GET http://a/ HTTP/1.1",
        ] {
            assert!(seems_foreign(bytes), "{}", bytes.escape_ascii());
        }
        for bytes in [
            b"",
            &b"GET"[..],
            b"GET key",
            b"GETS /a",
            b"SSH",
            b"\x16\x03\x04",
        ] {
            assert!(!seems_foreign(bytes), "{}", bytes.escape_ascii());
        }
    }
}

//! Where to listen and where to connect.

use std::net::SocketAddr;

use memchr::memmem::find;

use crate::Error;

/// A host and a port: `"localhost:7000"`, `("localhost", 7000)`, `"[::1]:7000"` or a
/// [`SocketAddr`].
///
/// A text without a port, `"localhost"`, leaves the port as it was. What cannot be read is
/// reported when the address is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: Option<u16>,
    problem: Option<&'static str>,
}

/// The port of the Python library that this one descends from.
pub(crate) const DEFAULT_PORT: u16 = 1234;

impl Address {
    /// 127.0.0.1:1234.
    pub(crate) fn localhost() -> Self {
        ("127.0.0.1", DEFAULT_PORT).into()
    }

    /// Takes over another address; the port only if that names one.
    pub(crate) fn replace(&mut self, other: Self) {
        let port = other.port.or(self.port);
        *self = Self { port, ..other };
    }

    pub(crate) fn set_host(&mut self, host: String) {
        *self = Self {
            host,
            port: self.port,
            problem: None,
        };
    }

    pub(crate) fn set_port(&mut self, port: u16) {
        self.port = Some(port);
    }

    /// Returns `host:port` for messages.
    pub(crate) fn text(&self) -> String {
        let port = self.port.unwrap_or(DEFAULT_PORT);
        if self.host.as_bytes().contains(&b':') {
            format!("[{}]:{port}", self.host)
        } else {
            format!("{}:{port}", self.host)
        }
    }

    /// Returns all socket addresses of the name, at least one.
    pub(crate) async fn resolve(&self) -> Result<Vec<SocketAddr>, Error> {
        if let Some(reason) = self.problem {
            return Err(Error::address(&self.host, reason));
        }
        let port = self.port.unwrap_or(DEFAULT_PORT);
        let resolve = |source| Error::resolve(&self.text(), source);
        let found = tokio::net::lookup_host((self.host.as_str(), port)).await;
        let mut addrs = Vec::new();
        for addr in found.map_err(resolve)? {
            addrs.push(addr);
        }
        if addrs.is_empty() {
            return Err(resolve(std::io::ErrorKind::NotFound.into()));
        }
        Ok(addrs)
    }
}

impl From<&str> for Address {
    fn from(text: &str) -> Self {
        let problem = |reason| Self {
            host: text.to_owned(),
            port: None,
            problem: Some(reason),
        };
        if find(text.as_bytes(), b"://").is_some() {
            return problem("that is a URL; write `host:port`");
        }
        let (host, port) = match text.strip_prefix('[').map(|rest| split(rest, b"]")) {
            Some(None) => return problem("`[` without `]`"),
            Some(Some((host, ""))) => (host, None),
            Some(Some((host, rest))) => match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None => return problem("only a port may follow `]`"),
            },
            // An IPv6 address without brackets has several colons, and no port.
            None => match split(text, b":") {
                Some((host, port)) if split(port, b":").is_none() => (host, Some(port)),
                _ => (text, None),
            },
        };
        if host.is_empty() {
            return problem("there is no host");
        }
        let port = match port.map(str::parse) {
            None => None,
            Some(Ok(port)) => Some(port),
            Some(Err(_)) => return problem("the port is no number from 0 to 65535"),
        };
        Self {
            host: host.to_owned(),
            port,
            problem: None,
        }
    }
}

impl From<String> for Address {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<&String> for Address {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<SocketAddr> for Address {
    fn from(addr: SocketAddr) -> Self {
        let host = match addr {
            // A link-local address means nothing without its interface (RFC 4007, section 11).
            SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
            _ => addr.ip().to_string(),
        };
        (host, addr.port()).into()
    }
}

impl<H: Into<String>> From<(H, u16)> for Address {
    fn from((host, port): (H, u16)) -> Self {
        Self {
            host: host.into(),
            port: Some(port),
            problem: None,
        }
    }
}

/// Returns what stands before the first of such bytes, and behind them.
///
/// For what std does, it compiles a search for each kind of pattern.
fn split<'a>(text: &'a str, by: &[u8]) -> Option<(&'a str, &'a str)> {
    let at = find(text.as_bytes(), by)?;
    Some((text.get(..at)?, text.get(at + by.len()..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (text, shown) in [
            ("localhost:80", "localhost:80"),
            ("localhost", "localhost:1234"),
            ("0.0.0.0:0", "0.0.0.0:0"),
            ("[::1]:80", "[::1]:80"),
            ("[::1]", "[::1]:1234"),
            ("::1", "[::1]:1234"),
        ] {
            let mut address = Address::localhost();
            address.replace(text.into());
            assert_eq!((address.text().as_str(), address.problem), (shown, None));
        }
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (text, reason) in [
            ("http://a:80", "that is a URL; write `host:port`"),
            (":80", "there is no host"),
            ("", "there is no host"),
            ("a:b", "the port is no number from 0 to 65535"),
            ("a:65536", "the port is no number from 0 to 65535"),
            ("[::1", "`[` without `]`"),
            ("[::1]80", "only a port may follow `]`"),
        ] {
            assert_eq!(Address::from(text).problem, Some(reason), "{text}");
        }
    }

    #[test]
    fn link_local_address_keeps_its_interface() {
        let addr = "[fe80::1%7]:80".parse::<SocketAddr>().expect("RFC 4007");
        assert_eq!(Address::from(addr).text(), addr.to_string());
    }

    #[test]
    fn address_without_a_port_keeps_the_one_that_was_set() {
        let mut address = Address::localhost();
        address.set_port(7000);
        address.replace("example.com".into());
        assert_eq!(address.text(), "example.com:7000");
    }
}

//! The addresses that servers listen at and clients connect to.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use crate::Error;

/// A host and a port: `"localhost:7000"`, `("localhost", 7000)`, `"[::1]:7000"` or a
/// [`SocketAddr`]. Clients also take `"tls://localhost:7000"` (with the feature `tls`) and
/// `"unix:/run/greet.sock"`.
///
/// A text without a port, such as `"localhost"`, leaves the port unchanged. A host that is only a
/// number, such as `"7000"` or `"127.1"`, is an error, because resolvers take it for an IPv4 address.
/// Errors are returned when the address is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: Option<u16>,
    scheme: Scheme,
    /// The error in the text, returned when the address is used.
    problem: Option<&'static str>,
}

/// The transport of an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Scheme {
    #[default]
    Tcp,
    /// TLS over TCP.
    Tls,
    /// The Unix socket at this path. The address has no host.
    Unix(PathBuf),
}

/// The port of the Python library that this one descends from.
pub(crate) const DEFAULT_PORT: u16 = 1234;

impl Address {
    /// Returns 127.0.0.1:1234.
    pub(crate) fn localhost() -> Self {
        ("127.0.0.1", DEFAULT_PORT).into()
    }

    /// Replaces the host, and the port if `other` has one.
    pub(crate) fn replace(&mut self, other: Self) {
        let port = other.port.or(self.port);
        *self = Self { port, ..other };
    }

    pub(crate) fn set_host(&mut self, host: String) {
        self.host = host;
        self.scheme = Scheme::Tcp;
        self.problem = None;
    }

    pub(crate) fn set_port(&mut self, port: u16) {
        self.port = Some(port);
    }

    #[cfg(feature = "tls")]
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Returns `true` if the address begins with `tls://`.
    #[cfg(feature = "tls")]
    pub(crate) fn is_tls(&self) -> bool {
        self.scheme == Scheme::Tls
    }

    /// Returns the path, if the address is that of a Unix socket.
    pub(crate) fn path(&self) -> Result<Option<&Path>, Error> {
        match (&self.scheme, self.problem) {
            (Scheme::Unix(_), Some(reason)) => Err(Error::address(&self.text(), reason)),
            (Scheme::Unix(path), None) => Ok(Some(path)),
            (Scheme::Tcp | Scheme::Tls, _) => Ok(None),
        }
    }

    /// Rejects the addresses that only clients have.
    pub(crate) fn check_server(&self) -> Result<(), Error> {
        let reason = match &self.scheme {
            Scheme::Tcp => return Ok(()),
            Scheme::Tls => {
                "a server sets its certificate with `tls()`, and its address without `tls://`"
            }
            Scheme::Unix(_) => {
                "a server listens at a path with `listener(UnixSocket::bind(path, mode)?)`"
            }
        };
        Err(Error::address(&self.text(), reason))
    }

    /// Returns `host:port` or the path, for messages.
    pub(crate) fn text(&self) -> String {
        if let Scheme::Unix(path) = &self.scheme {
            return format!("unix:{}", path.display());
        }
        let port = self.port.unwrap_or(DEFAULT_PORT);
        if self.host.contains(':') {
            format!("[{}]:{port}", self.host)
        } else {
            format!("{}:{port}", self.host)
        }
    }

    /// Returns all socket addresses of the name, at least one.
    pub(crate) async fn resolve(&self) -> Result<Vec<SocketAddr>, Error> {
        if let Some(reason) = self.problem.or_else(|| number_problem(&self.host)) {
            return Err(Error::address(&self.host, reason));
        }
        let port = self.port.unwrap_or(DEFAULT_PORT);
        let resolve = |source| Error::resolve(&self.text(), source);
        let found = tokio::net::lookup_host((self.host.as_str(), port)).await;
        let addrs: Vec<_> = found.map_err(resolve)?.collect();
        if addrs.is_empty() {
            return Err(resolve(std::io::ErrorKind::NotFound.into()));
        }
        Ok(addrs)
    }
}

impl From<&str> for Address {
    fn from(text: &str) -> Self {
        if let Some(path) = text.strip_prefix("unix:") {
            return Self {
                host: String::new(),
                port: None,
                scheme: Scheme::Unix(path.into()),
                problem: unix_problem(path),
            };
        }
        let (scheme, rest) = match text.strip_prefix("tls://") {
            Some(rest) => (Scheme::Tls, rest),
            None => (Scheme::Tcp, text),
        };
        let (host, port, problem) = match split(rest) {
            Ok((host, port)) => (host, port, None),
            Err(problem) => (text, None, Some(problem)),
        };
        Self {
            host: host.to_owned(),
            port,
            problem: problem.or_else(|| scheme_problem(&scheme)),
            scheme,
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
            scheme: Scheme::Tcp,
            problem: None,
        }
    }
}

/// Returns what is wrong with the path of a Unix socket.
fn unix_problem(path: &str) -> Option<&'static str> {
    if cfg!(not(unix)) {
        Some("this system has no Unix sockets")
    } else if path.is_empty() {
        Some("there is no path")
    } else {
        None
    }
}

/// Returns why a scheme cannot be used in this build.
fn scheme_problem(scheme: &Scheme) -> Option<&'static str> {
    let needs_feature = *scheme == Scheme::Tls && cfg!(not(feature = "tls"));
    needs_feature.then_some("`tls://` needs the feature `tls` of `tcs`")
}

/// Splits a text into host and port. The error is what is wrong with it.
fn split(text: &str) -> Result<(&str, Option<u16>), &'static str> {
    if text.contains("://") {
        return Err("that is a URL; write `host:port` or `tls://host:port`");
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']').ok_or("`[` without `]`")? {
            (host, "") => (host, None),
            (host, rest) => {
                let port = rest.strip_prefix(':');
                (host, Some(port.ok_or("only a port may follow `]`")?))
            }
        },
        // An IPv6 address without brackets has several colons, and no port.
        None => match text.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (text, None),
        },
    };
    if host.is_empty() {
        return Err("there is no host");
    }
    let port = port.map(str::parse).transpose();
    let port = port.map_err(|_| "the port is no number from 0 to 65535")?;
    Ok((host, port))
}

/// Returns what is wrong with a host that is a number, but not an IPv4 address in four parts.
///
/// The resolver of the operating system takes `7000` for 0.0.27.88 and `127.1` for 127.0.0.1
/// (`inet_aton(3)`).
fn number_problem(host: &str) -> Option<&'static str> {
    let last = host.rsplit('.').find(|part| !part.is_empty())?;
    let is_number = match last.strip_prefix("0x").or_else(|| last.strip_prefix("0X")) {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => last.bytes().all(|byte| byte.is_ascii_digit()),
    };
    if !is_number || host.parse::<Ipv4Addr>().is_ok() {
        return None;
    }
    Some(if host.contains('.') {
        "that is not an IPv4 address, which has four decimal numbers"
    } else {
        "that is a number, not a host; set a port with `port()`, or write `host:port`"
    })
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
            #[cfg(feature = "tls")]
            ("tls://[::1]:80", "[::1]:80"),
            #[cfg(unix)]
            ("unix:/a/b:80", "unix:/a/b:80"),
        ] {
            let mut address = Address::localhost();
            address.replace(text.into());
            assert_eq!((address.text().as_str(), address.problem), (shown, None));
        }
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (text, reason) in [
            (
                "http://a:80",
                "that is a URL; write `host:port` or `tls://host:port`",
            ),
            (
                "tls://http://a:80",
                "that is a URL; write `host:port` or `tls://host:port`",
            ),
            ("tls://:80", "there is no host"),
            #[cfg(unix)]
            ("unix:", "there is no path"),
            #[cfg(not(feature = "tls"))]
            ("tls://a:80", "`tls://` needs the feature `tls` of `tcs`"),
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

    #[tokio::test]
    async fn host_that_is_a_number_is_an_error_however_it_is_set() {
        const PORT: &str =
            "that is a number, not a host; set a port with `port()`, or write `host:port`";
        const FOUR: &str = "that is not an IPv4 address, which has four decimal numbers";
        for (host, reason) in [
            ("7000", PORT),
            ("0x7f000001", PORT),
            ("127.1", FOUR),
            ("1.2.3.256", FOUR),
            ("127.0.0.1.", FOUR),
            ("127.0.0.0x1", FOUR),
        ] {
            let mut set = Address::localhost();
            set.set_host(host.to_owned());
            for address in [Address::from(host), (host, 7000).into(), set] {
                let error = address.resolve().await.expect_err(host).to_string();
                assert!(error.contains(reason), "{error}");
            }
        }
        for host in ["127.0.0.1", "::1", "fe80::1%1", "localhost"] {
            assert_eq!(number_problem(host), None, "{host}");
        }
        for host in ["7.example", "1a", "0xg", "a.b1", "."] {
            assert_eq!(number_problem(host), None, "{host}");
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

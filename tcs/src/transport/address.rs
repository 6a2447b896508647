//! The addresses that servers listen at and clients connect to.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use crate::Error;

/// A name for the addresses 127.0.0.1 and 127.0.0.2, which no resolver need know.
#[cfg(all(test, target_os = "linux"))]
pub(crate) const TWO_ADDRESSES: &str = "two.test";

/// A host and a port: `"localhost:7000"`, `("localhost", 7000)`, `"[::1]:7000"` or a
/// [`SocketAddr`]. Clients also take `"tls://localhost:7000"` (with the feature `tls`), and the path of a Unix socket:
/// `"unix:/run/greet.sock"`, or a [`Path`], which need not be UTF-8. Abstract names are not supported.
///
/// A text without a port, such as `"localhost"`, leaves the port unchanged: 1234, unless you have set one. A host that is only a
/// number, such as `"7000"` or `"127.1"`, is an error, because resolvers take it for an IPv4 address.
/// An IPv6 host may have brackets. Errors are returned when the address is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    /// An error stays when a new host has no port.
    port: Option<Port>,
    scheme: Scheme,
    /// The error in the text, returned when the address is used.
    problem: Option<&'static str>,
}

/// A port, or the text that is none.
type Port = Result<u16, String>;

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

const NO_PORT: &str = "the port is not a number from 0 to 65535";

impl Address {
    /// Returns 127.0.0.1:1234.
    pub(crate) fn localhost() -> Self {
        ("127.0.0.1", DEFAULT_PORT).into()
    }

    /// Replaces the host, and the port if `other` has one.
    pub(crate) fn replace(&mut self, other: Self) {
        let port = other.port.or(self.port.take());
        *self = Self { port, ..other };
    }

    /// Replaces the host, or the path, by a host. An address over TLS stays over TLS.
    pub(crate) fn set_host(&mut self, host: String) {
        self.host = without_brackets(host);
        if let Scheme::Unix(_) = self.scheme {
            self.scheme = Scheme::Tcp;
        }
        self.problem = scheme_problem(&self.scheme);
    }

    pub(crate) fn set_port(&mut self, port: u16) {
        self.port = Some(Ok(port));
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
    #[cfg(unix)]
    pub(crate) fn path(&self) -> Result<Option<&Path>, Error> {
        match &self.scheme {
            Scheme::Unix(path) => self.check().map(|()| Some(path.as_path())),
            Scheme::Tcp | Scheme::Tls => Ok(None),
        }
    }

    /// Returns the error in the address, if there is one.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let (shown, problem) = match (&self.scheme, &self.port) {
            (Scheme::Unix(_), _) => (self.text(), self.problem),
            (_, Some(Err(_))) => (self.text(), Some(NO_PORT)),
            // The host is the whole text, if there is a problem with it.
            _ => (
                self.host.clone(),
                self.problem.or_else(|| host_problem(&self.host)),
            ),
        };
        problem.map_or(Ok(()), |reason| Err(Error::address(&shown, reason)))
    }

    /// Rejects the addresses that only clients have.
    pub(crate) fn check_server(&self) -> Result<(), Error> {
        let reason = match &self.scheme {
            Scheme::Tcp => return Ok(()),
            Scheme::Tls => {
                "a server sets its certificate with `tls()`, and its address without `tls://`"
            }
            Scheme::Unix(_) => {
                "a server listens at a path with `listener(UnixSocketListener::bind(path, mode)?)`"
            }
        };
        Err(Error::address(&self.text(), reason))
    }

    /// Returns `host:port` or the path, for messages.
    pub(crate) fn text(&self) -> String {
        if let Scheme::Unix(path) = &self.scheme {
            return format!("unix:{}", path.display());
        }
        let port = match &self.port {
            Some(Err(text)) => text.clone(),
            _ => self.port_number().to_string(),
        };
        if self.host.contains(':') {
            format!("[{}]:{port}", self.host)
        } else {
            format!("{}:{port}", self.host)
        }
    }

    fn port_number(&self) -> u16 {
        match self.port {
            Some(Ok(port)) => port,
            _ => DEFAULT_PORT,
        }
    }

    /// Returns all socket addresses of the name, at least one.
    pub(crate) async fn resolve(&self) -> Result<Vec<SocketAddr>, Error> {
        self.check()?;
        let port = self.port_number();
        let resolve = |source| Error::resolve(&self.text(), source);
        #[cfg(all(test, target_os = "linux"))]
        if self.host == TWO_ADDRESSES {
            return Ok(vec![
                ([127, 0, 0, 1], port).into(),
                ([127, 0, 0, 2], port).into(),
            ]);
        }
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
            return Path::new(path).into();
        }
        let (scheme, rest) = match text.strip_prefix("tls://") {
            Some(rest) => (Scheme::Tls, rest),
            None => (Scheme::Tcp, text),
        };
        let parts = split(rest).and_then(|parts| scheme_problem(&scheme).map_or(Ok(parts), Err));
        let (host, port, problem) = match parts {
            Ok((host, port)) => (host, port, None),
            Err(problem) => (text, None, Some(problem)),
        };
        Self {
            host: host.to_owned(),
            port,
            scheme,
            problem,
        }
    }
}

impl From<&Path> for Address {
    fn from(path: &Path) -> Self {
        Self {
            host: String::new(),
            port: None,
            scheme: Scheme::Unix(path.to_owned()),
            problem: unix_problem(path),
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
            host: without_brackets(host.into()),
            port: Some(Ok(port)),
            scheme: Scheme::Tcp,
            problem: None,
        }
    }
}

/// Returns the problem with the path of a Unix socket, if there is one.
fn unix_problem(path: &Path) -> Option<&'static str> {
    if cfg!(not(unix)) {
        Some("this system has no Unix sockets")
    } else if path.as_os_str().is_empty() {
        Some("there is no path")
    } else {
        None
    }
}

/// Returns the reason why this build has no support for a scheme, if there is one.
fn scheme_problem(scheme: &Scheme) -> Option<&'static str> {
    let needs_feature = *scheme == Scheme::Tls && cfg!(not(feature = "tls"));
    needs_feature.then_some("`tls://` needs the feature `tls` of `tcs`")
}

/// Splits a text into host and port. The error is the problem with the text, unless it is the port.
fn split(text: &str) -> Result<(&str, Option<Port>), &'static str> {
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
    // `parse` would also take `+80`.
    let parse = |text: &str| match text.as_bytes() {
        [b'0'..=b'9', ..] => text.parse().ok(),
        _ => None,
    };
    let port = port.map(|text| parse(text).ok_or_else(|| text.to_owned()));
    Ok((host, port))
}

/// Returns an IPv6 address without the brackets that it has next to a port.
fn without_brackets(host: String) -> String {
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    inner.map(str::to_owned).unwrap_or(host)
}

/// Returns the problem with a host, if there is one. The host may not come from the text of an address.
fn host_problem(host: &str) -> Option<&'static str> {
    let ip = host.split('%').next().unwrap_or_default();
    if host.is_empty() {
        Some("there is no host")
    } else if host.starts_with("unix:") || host.contains("://") {
        Some("that is an address, not a host; set it with `address()`")
    } else if host.contains(':') && ip.parse::<Ipv6Addr>().is_err() {
        Some("that is not a host; set a host and a port with `address()`, as `host:port`")
    } else {
        number_problem(host)
    }
}

/// Returns the problem with a host that is a number, but not an IPv4 address in four parts.
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

    #[cfg(feature = "tls")]
    #[test]
    fn host_that_is_set_later_keeps_tls() {
        let mut address = Address::from("tls://a:80");
        address.set_host("b".to_owned());
        assert!(address.is_tls());
        assert_eq!(address.text(), "b:80");
        // A path has no host, so the host replaces it.
        let mut address = Address::from("unix:/a");
        address.set_host("b".to_owned());
        assert_eq!((address.text().as_str(), address.problem), ("b:1234", None));
    }

    #[test]
    fn port_that_is_no_port_stays_an_error_until_it_is_set() {
        let is_error = |address: &Address, text: &str| {
            let error = address.check().expect_err("no port").to_string();
            assert_eq!(
                error,
                format!("cannot read the address `{text}`: {NO_PORT}")
            );
        };
        let mut address = Address::localhost();
        address.replace("0.0.0.0:99999".into());
        is_error(&address, "0.0.0.0:99999");
        address.set_host("::1".to_owned());
        is_error(&address, "[::1]:99999");
        address.replace("127.0.0.1".into());
        is_error(&address, "127.0.0.1:99999");
        address.set_port(80);
        address.check().expect("a host and a port");
        assert_eq!(address.text(), "127.0.0.1:80");
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
            ("a:b", NO_PORT),
            ("a:+80", NO_PORT),
            ("a:", NO_PORT),
            ("a:65536", NO_PORT),
            ("[::1", "`[` without `]`"),
            ("[::1]80", "only a port may follow `]`"),
        ] {
            let error = Address::from(text).check().expect_err(text).to_string();
            assert_eq!(error, format!("cannot read the address `{text}`: {reason}"));
        }
    }

    /// Where there are no Unix sockets, an error is all that is made of a path.
    #[tokio::test]
    async fn error_in_a_path_shows_the_path() {
        let error = Address::from("unix:").resolve().await;
        let error = error.expect_err("there is no path").to_string();
        assert!(
            error.starts_with("cannot read the address `unix:`"),
            "{error}"
        );
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

    #[tokio::test]
    async fn address_in_the_place_of_a_host_is_an_error_however_it_is_set() {
        const ADDRESS: &str = "that is an address, not a host; set it with `address()`";
        const PORT: &str =
            "that is not a host; set a host and a port with `address()`, as `host:port`";
        for (host, reason) in [
            ("", "there is no host"),
            ("[]", "there is no host"),
            ("unix:/run/greet.sock", ADDRESS),
            ("tls://localhost", ADDRESS),
            ("tls://localhost:7000", ADDRESS),
            ("localhost:7000", PORT),
            ("127.0.0.1:7000", PORT),
            ("[::1]:7000", PORT),
            ("a:b:c", PORT),
        ] {
            let mut set = Address::localhost();
            set.set_host(host.to_owned());
            for address in [(host, 7000).into(), set] {
                let error = address.resolve().await.expect_err(host).to_string();
                assert!(error.ends_with(reason), "{error}");
            }
        }
    }

    #[tokio::test]
    async fn ipv6_host_may_have_brackets() {
        let expected = "[::1]:7000".parse().expect("RFC 5952");
        for host in ["::1", "[::1]"] {
            let mut set = Address::from("localhost:7000");
            set.set_host(host.to_owned());
            for address in [Address::from((host, 7000)), set] {
                assert_eq!(address.resolve().await.expect(host), [expected]);
            }
        }
        assert_eq!(host_problem("fe80::1%eth0"), None);
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

//! Explains errors of TLS, and gives advice.

use std::{fmt, io};

use rustls::{AlertDescription, CertificateError, Error};

/// Adds advice to an error of a handshake with a `peer`: `client` or `server`.
pub(super) fn explain_handshake(error: io::Error, peer: &str) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        let text = format!("the {peer} closed in the middle of the handshake ({error})");
        return io::Error::new(error.kind(), text);
    }
    explain(error, peer)
}

/// Adds advice to an error of a stream over TLS, during the handshake or after it.
pub(super) fn explain(error: io::Error, peer: &str) -> io::Error {
    let source = error.get_ref().and_then(|source| source.downcast_ref());
    let advice = match source {
        Some(Error::InvalidCertificate(error)) => {
            Some(format!("the {peer}'s certificate {}", problem(error)))
        }
        Some(other) => advice_on(other).map(str::to_owned),
        None => None,
    };
    match advice {
        Some(advice) => io::Error::new(error.kind(), format!("{advice} ({error})")),
        None => error,
    }
}

/// The text is also for old clients, because TLS 1.0 and 1.1 are not supported.
const NO_COMMON_VERSION: &str =
    "client and server have no version or cipher suite of TLS in common";
const NO_COMMON_PROTOCOL: &str = "client and server have no protocol of ALPN in common";

/// Returns the problem with a certificate.
fn problem(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::UnknownIssuer => {
            "is not signed by a trusted root; a private root must be set"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "has expired, or a clock is wrong"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet, or a clock is wrong"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another name"
        }
        CertificateError::Other(other) if other.0.is::<NotPinned>() => "is not the pinned one",
        // An error of webpki, whose type rustls does not export.
        CertificateError::Other(other) if other.0.to_string() == "CaUsedAsEndEntity" => {
            "is an authority's: sign another with it, or pin it (`ClientTls::pinned`)"
        }
        _ => "was not accepted",
    }
}

/// Returns the problem or advice, if the text of the error is not clear by itself.
fn advice_on(error: &Error) -> Option<&'static str> {
    Some(match error {
        Error::InvalidMessage(_) => "the peer does not speak TLS at this port",
        Error::NoCertificatesPresented => {
            "the client has no certificate, which the server requires"
        }
        Error::NoApplicationProtocol => NO_COMMON_PROTOCOL,
        Error::PeerIncompatible(_) => NO_COMMON_VERSION,
        Error::AlertReceived(alert) => match alert {
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            // A client with a pinned certificate sends this.
            | AlertDescription::AccessDenied => "the peer does not trust the certificate",
            AlertDescription::CertificateExpired => {
                "the peer says that the certificate has expired"
            }
            AlertDescription::CertificateRequired => {
                "the server requires a certificate of the client"
            }
            AlertDescription::NoApplicationProtocol => NO_COMMON_PROTOCOL,
            AlertDescription::ProtocolVersion => NO_COMMON_VERSION,
            AlertDescription::UnexpectedMessage => "the peer may not speak TLS at this port",
            _ => "the peer ended the handshake",
        },
        _ => return None,
    })
}

/// The server has another certificate than the pinned one.
#[derive(Debug)]
pub(super) struct NotPinned;

impl fmt::Display for NotPinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is not the pinned one")
    }
}

impl std::error::Error for NotPinned {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_handshakes_say_what_to_do_and_keep_their_text() {
        for (error, advice) in [
            (
                Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType),
                "the peer does not speak TLS at this port (",
            ),
            (
                Error::InvalidCertificate(CertificateError::UnknownIssuer),
                "the client's certificate is not signed by a trusted root; a private root must be set (",
            ),
            (
                Error::InvalidCertificate(CertificateError::Expired),
                "the client's certificate has expired, or a clock is wrong (",
            ),
            (
                Error::InvalidCertificate(CertificateError::NotValidYet),
                "the client's certificate is not valid yet, or a clock is wrong (",
            ),
            (
                Error::InvalidCertificate(CertificateError::NotValidForName),
                "the client's certificate is for another name (",
            ),
            (
                Error::AlertReceived(AlertDescription::CertificateRequired),
                "the server requires a certificate of the client (",
            ),
            (
                Error::AlertReceived(AlertDescription::UnexpectedMessage),
                "the peer may not speak TLS at this port (",
            ),
            (
                Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOffered),
                "client and server have no version or cipher suite of TLS in common (",
            ),
            (
                Error::AlertReceived(AlertDescription::ProtocolVersion),
                "client and server have no version or cipher suite of TLS in common (",
            ),
            (
                Error::AlertReceived(AlertDescription::AccessDenied),
                "the peer does not trust the certificate (",
            ),
            (
                Error::AlertReceived(AlertDescription::CertificateUnknown),
                "the peer does not trust the certificate (",
            ),
            (
                Error::AlertReceived(AlertDescription::HandshakeFailure),
                "the peer ended the handshake (",
            ),
            (Error::DecryptError, ""),
        ] {
            let text = error.to_string();
            let explained = explain(io::Error::new(io::ErrorKind::InvalidData, error), "client");
            assert_eq!(explained.kind(), io::ErrorKind::InvalidData);
            let explained = explained.to_string();
            let rest = explained.strip_prefix(advice).expect(advice);
            assert_eq!(rest.trim_end_matches(')'), text.trim_end_matches(')'));
        }
        let other = explain(io::Error::from(io::ErrorKind::ConnectionReset), "client");
        assert_eq!(other.to_string(), "connection reset");
    }
}

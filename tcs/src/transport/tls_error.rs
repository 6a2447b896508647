//! Errors of TLS in words that say what to do.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// Adds what to do to an error of a handshake.
pub(super) fn explained(error: io::Error) -> io::Error {
    let source = error.get_ref().and_then(|source| source.downcast_ref());
    match source.and_then(advice) {
        Some(advice) => io::Error::new(error.kind(), format!("{advice} ({error})")),
        None => error,
    }
}

fn advice(error: &Error) -> Option<&'static str> {
    Some(match error {
        Error::InvalidMessage(_) => "the peer does not speak TLS at this port",
        Error::NoCertificatesPresented => {
            "the client has no certificate, which the server requires"
        }
        Error::NoApplicationProtocol => "client and server have no protocol of ALPN in common",
        Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::UnknownIssuer => {
                "the certificate is not signed by a trusted root; a private root must be set"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the certificate has expired, or a clock is wrong"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the certificate is not valid yet, or a clock is wrong"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the certificate is for another name"
            }
            _ => "the certificate was not accepted",
        },
        Error::AlertReceived(alert) => match alert {
            AlertDescription::UnknownCA | AlertDescription::BadCertificate => {
                "the peer does not trust the certificate"
            }
            AlertDescription::CertificateExpired => {
                "the peer says that the certificate has expired"
            }
            AlertDescription::CertificateRequired => {
                "the server requires a certificate of the client"
            }
            AlertDescription::NoApplicationProtocol => {
                "client and server have no protocol of ALPN in common"
            }
            AlertDescription::UnexpectedMessage => "the peer may not speak TLS at this port",
            _ => "the peer ended the handshake",
        },
        _ => return None,
    })
}

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
                "the certificate is not signed by a trusted root; a private root must be set (",
            ),
            (
                Error::InvalidCertificate(CertificateError::Expired),
                "the certificate has expired, or a clock is wrong (",
            ),
            (
                Error::InvalidCertificate(CertificateError::NotValidYet),
                "the certificate is not valid yet, or a clock is wrong (",
            ),
            (
                Error::InvalidCertificate(CertificateError::NotValidForName),
                "the certificate is for another name (",
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
                Error::AlertReceived(AlertDescription::HandshakeFailure),
                "the peer ended the handshake (",
            ),
            (Error::DecryptError, ""),
        ] {
            let text = error.to_string();
            let explained = explained(io::Error::new(io::ErrorKind::InvalidData, error));
            assert_eq!(explained.kind(), io::ErrorKind::InvalidData);
            let explained = explained.to_string();
            let rest = explained.strip_prefix(advice).expect(advice);
            assert_eq!(rest.trim_end_matches(')'), text.trim_end_matches(')'));
        }
        let other = explained(io::Error::from(io::ErrorKind::ConnectionReset));
        assert_eq!(other.to_string(), "connection reset");
    }
}

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

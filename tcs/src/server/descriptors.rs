//! A descriptor in reserve, with which the server accepts and rejects a peer when the process has no other.

use std::io;

use socket2::{Domain, Socket, Type};

/// A descriptor that the server releases when there is no other for a connection.
///
/// Without this descriptor, peers would wait in the backlog without a rejection for as long as the process has no
/// other.
#[derive(Debug, Default)]
pub(super) struct ReservedDescriptor(Option<Socket>);

impl ReservedDescriptor {
    pub(super) const fn is_held(&self) -> bool {
        self.0.is_some()
    }

    /// Releases the descriptor if `error` says that there is no other. Returns `false` if it does not release one.
    pub(super) fn release(&mut self, error: &io::Error) -> bool {
        is_out_of_descriptors(error) && self.0.take().is_some()
    }

    /// Takes a descriptor if none is held. Returns `false` if there is none to take.
    pub(super) fn restore(&mut self) -> bool {
        if self.0.is_none() {
            // An unbound socket needs no file, which a `chroot` may not have.
            let domain = if cfg!(unix) {
                Domain::UNIX
            } else {
                Domain::IPV4
            };
            match Socket::new(domain, Type::DGRAM, None) {
                Ok(socket) => self.0 = Some(socket),
                // With any other error, such as in a sandbox, the server goes on without a reserve.
                Err(error) => return !is_out_of_descriptors(&error),
            }
        }
        true
    }
}

/// Returns `true` for ENFILE and EMFILE, which have these numbers on every Unix.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn descriptor_is_released_once_if_the_process_or_the_system_has_no_other() {
        for (name, code, is_released) in [
            ("ENFILE", 23, true),
            ("EMFILE", 24, true),
            ("ENOMEM", 12, false),
        ] {
            let mut reserved = ReservedDescriptor::default();
            assert!(reserved.restore() && reserved.is_held());
            let error = io::Error::from_raw_os_error(code);
            assert_eq!(reserved.release(&error), is_released, "{name}");
            assert_eq!(reserved.is_held(), !is_released, "{name}");
            assert!(!is_released || !reserved.release(&error), "{name}");
        }
    }
}

//! Notifies systemd.

/// Whether to notify systemd when the server accepts connections, and when it stops.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Systemd {
    #[cfg(all(unix, feature = "systemd"))]
    pub(super) is_notified: bool,
}

impl Systemd {
    /// Sends a state of `sd_notify(3)`, such as `READY=1`.
    pub(super) fn notify(self, state: &str) {
        #[cfg(all(unix, feature = "systemd"))]
        if self.is_notified
            && let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Custom(state)])
        {
            tracing::warn!(%error, state, "cannot notify systemd");
        }
        #[cfg(not(all(unix, feature = "systemd")))]
        let _ = (self, state);
    }
}

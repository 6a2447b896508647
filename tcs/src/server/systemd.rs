//! Notifies systemd.

/// Notifies systemd of a state of the server, if `is_notified`.
pub(super) fn notify_systemd(is_notified: bool, state: &str) {
    #[cfg(all(unix, feature = "systemd"))]
    if is_notified && let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Custom(state)]) {
        tracing::warn!(%error, state, "cannot notify systemd");
    }
    #[cfg(not(all(unix, feature = "systemd")))]
    let _ = (is_notified, state);
}

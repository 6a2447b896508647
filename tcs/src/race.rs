//! Waiting for a condition.

use tokio::sync::Notify;

/// Waits until `is_so()` returns `true`. It is evaluated again after each notification.
pub(crate) async fn until(changed: &Notify, is_so: &(dyn Fn() -> bool + Sync)) {
    loop {
        let told = changed.notified();
        if is_so() {
            return;
        }
        told.await;
    }
}

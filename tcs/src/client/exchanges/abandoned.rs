//! Abandoned requests of earlier exchanges, and their replies.

use std::{
    mem::{replace, take},
    sync::Arc,
    task::Poll,
};

use tokio::task::unconstrained;

use super::{Chunks, Exchanges};
use crate::{
    Error, Result,
    client::{fault::Fault, wire::Expected},
    framing::{Framing, Notice},
    runtime::poll_once,
};

impl<F: Framing> Exchanges<F> {
    /// Abandons the requests in flight, because nobody waits for them any more. A request is removed if nothing of it was
    /// sent. The replies to the others are skipped.
    ///
    /// Every use of the connection begins with this method, so that nothing depends on the drop of a future or a
    /// pipeline.
    pub(in crate::client) fn abandon_in_flight(&mut self) {
        if !self.in_flight.is_empty() {
            self.abandon_requests();
        }
        if self.in_flight.is_empty() {
            self.end_reply_wait();
        }
        if F::HAS_IDS {
            self.ids.drop_parts();
        }
    }

    #[cold]
    fn abandon_requests(&mut self) {
        if !F::EXCHANGES.are_many() {
            return self.close_with("its only exchange was not awaited to its end");
        }
        if replace(&mut self.chunks, Chunks::None) != Chunks::None {
            // Another request would end the chunks, as if they were all.
            return self.close_with("an upload was dropped before its end");
        }
        while let Some(offset) = self.in_flight.newest()
            && self.is_removable(offset)
        {
            self.wire.requests.truncate(offset);
            self.in_flight.pop_back();
        }
        // A part of the request was sent.
        let is_cancelled = if F::HAS_IDS {
            self.cancel()
        } else {
            take(&mut self.is_stream) && !self.in_flight.is_empty()
        };
        if is_cancelled {
            self.notice(Notice::Cancel);
        }
        self.in_flight.abandon_all();
        // A flush that was dropped could wait for requests that were removed.
        self.end_send_wait();
    }

    /// Returns `true` if the request in flight at `offset` can still be removed: nothing of it was sent.
    ///
    /// A codec may count its frames, so what it has encoded is sent.
    pub(super) fn is_removable(&self, offset: u64) -> bool {
        !F::HAS_VALUES && offset >= self.wire.sent()
    }

    /// Returns how many replies to abandoned requests are still to come.
    pub(super) const fn owed(&self) -> usize {
        if F::HAS_IDS {
            self.ids.cancelled()
        } else {
            self.in_flight.abandoned()
        }
    }

    /// Prepares the connection for an exchange. Returns an error if the connection is closed, or cannot
    /// send any more.
    pub(super) fn prepare(&mut self) -> Result<()> {
        self.abandon_in_flight();
        self.close_if_stopped()
    }

    /// Closes the connection, and returns an error, if it cannot send any more.
    fn close_if_stopped(&mut self) -> Result<()> {
        if let Some(fault) = self.wire.stop_reason() {
            self.wire.close(fault);
        }
        self.ensure_open()
    }

    /// Skips the replies to abandoned requests that have arrived. Never waits.
    ///
    /// Closes the connection, and returns an error, if a message has arrived that answers no request, if the server
    /// has closed, or if replies are missing: too many, or since the reply timeout.
    pub(in crate::client) async fn skip_arrived(&mut self) -> Result<()> {
        // Without `unconstrained`, a task that has used up its budget of tokio could miss what has arrived.
        let polled = unconstrained(poll_once(|cx| {
            let polled = self.poll_received(cx, Expected::NOTHING);
            if polled.is_pending() && self.in_flight.abandoned() > 0 {
                let _: Poll<()> = self.poll_reply_timeout(cx);
            }
            polled
        }));
        if let Poll::Ready(Err(fault)) = polled.await {
            return Err(self.fail(fault));
        }
        if self.owed() > self.options.max_in_flight {
            self.close_with("too many replies are missing (`max_in_flight`)");
        }
        self.close_if_stopped()
    }

    /// Returns an error if the connection is closed, or not at rest: its stream can then serve nothing else.
    pub(in crate::client) fn ensure_idle(&mut self) -> Result<()> {
        self.abandon_in_flight();
        if self.owed() > 0 {
            self.close_with("replies to earlier requests are missing");
        }
        self.ensure_open()
    }

    /// Closes the connection, which has failed. Removes the oldest request in flight that was not abandoned, and
    /// returns its error, or the error of a wait without a request.
    #[cold]
    pub(in crate::client) fn fail(&mut self, fault: Arc<Fault>) -> Error {
        let offset = self.in_flight.pop_failed();
        let error = fault.error_of(offset, self.wire.sent(), &self.peer);
        self.wire.close(fault);
        error
    }
}

impl<F> Exchanges<F> {
    /// Returns an error if the connection is closed, or cannot send any more.
    pub(in crate::client) fn ensure_open(&self) -> Result<()> {
        let fault = self.wire.stop_reason();
        fault.map_or(Ok(()), |fault| Err(fault.later_error(&self.peer)))
    }

    /// Closes the connection at this end, for `reason` if it has not failed. Nothing is in flight any more.
    #[cold]
    pub(in crate::client) fn close_with(&mut self, reason: &'static str) {
        self.in_flight.clear();
        self.wire.close(self.wire.fault_or(Fault::Broken(reason)));
    }
}

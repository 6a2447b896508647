//! How calls wait until a connection has room for them.

use std::{future::pending, sync::Arc, task::Context};

use tokio::{sync::watch, time::sleep};

use super::{
    Channel,
    call::{Call, CallParams},
    subchannel::Subchannel,
};
use crate::{
    Result,
    client::timer::{DeadlineTimer, wait_until_late},
    deadline::Late,
    framing::Framing,
    runtime::poll_once,
};

/// Tells the calls that wait that a connection of the channel may have room. All connections share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Room(watch::Sender<()>);

impl Room {
    /// Returns `true` if a call waits.
    #[inline]
    pub(super) fn is_awaited(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// Tells the calls that wait that there may be room, or that there will be none.
    #[cold]
    pub(super) fn offer(&self) {
        self.0.send_replace(());
    }
}

impl<F: Framing> Channel<F> {
    /// Waits for room, for at most the reply timeout, and queues the request. Changes `subchannel` if another connection is
    /// there first.
    #[cold]
    pub(super) async fn wait_for_room<'s>(
        &'s self,
        subchannel: &mut &'s Arc<Subchannel<F>>,
        params: CallParams,
        request: &[u8],
        deadline: Option<&mut DeadlineTimer>,
    ) -> Result<Call<'s, F>> {
        if !subchannel.room.is_awaited() {
            let queue =
                |cx: &mut Context<'_>| Call::try_queue(subchannel, cx.waker(), params, request);
            if let Some(call) = poll_once(queue).await? {
                return Ok(call);
            }
        }
        let limit = subchannel.options.reply_timeout;
        let timeout = async {
            match limit {
                Some(limit) => {
                    sleep(limit).await;
                    Late::reply_timeout(limit)
                }
                None => pending().await,
            }
        };
        let late = tokio::select! {
            // If there is room at the moment of the deadline, nothing is sent any more.
            biased;
            late = wait_until_late(deadline) => late,
            call = self.queue_in_turn(subchannel, params, request) => return call,
            late = timeout => late,
        };
        Err(subchannel.no_room(late))
    }

    /// Queues the request at the first connection that has room, after the calls that wait already.
    async fn queue_in_turn<'s>(
        &'s self,
        subchannel: &mut &'s Arc<Subchannel<F>>,
        params: CallParams,
        request: &[u8],
    ) -> Result<Call<'s, F>> {
        let mut room = subchannel.room.0.subscribe();
        subchannel.request_connection()?;
        // When it is dropped, the next call is the first, and looks for room as well.
        let _first = self.pool.first_in_line.acquire().await;
        let all = &*self.pool.connections;
        let have_failed = all.iter().all(|other| other.has_failed());
        let mut wanted: &[Arc<Subchannel<F>>] = if have_failed { all } else { &[] };
        loop {
            room.mark_unchanged();
            let open = self.pool.with_fewest_calls(Subchannel::has_room);
            let has_asked_all = !wanted.is_empty();
            *subchannel =
                open.unwrap_or_else(|| self.pool.place_to_wait(subchannel, has_asked_all));
            let queue =
                |cx: &mut Context<'_>| Call::try_queue(subchannel, cx.waker(), params, request);
            if let Some(call) = poll_once(queue).await? {
                return Ok(call);
            }
            for other in wanted {
                other.connect_in_background();
            }
            subchannel.request_connection()?;
            // An error cannot be: the connections have the sender.
            drop(room.changed().await);
            // There was no room, and perhaps an attempt to connect has failed: from now on, the first connection that is open.
            wanted = all;
        }
    }
}

//! Calls of one operation, whose reply is one of several.

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Channel, Connection,
    message::{take, unreadable},
};
use crate::{Callable, DecodeError, Error, Framing, Peer, Result};

impl<F: Framing, S: AsyncRead + AsyncWrite + Unpin> Connection<F, S> {
    /// Does the same as [`call`](Self::call), and takes the operation's reply out of the type of all.
    #[doc(hidden)]
    pub async fn call_for<'c, P, T>(
        &'c mut self,
        request: P::Request<'_>,
        take_out: impl FnOnce(P::Value<'c>) -> Option<T>,
    ) -> Result<T>
    where
        P: Callable<Framing = F>,
    {
        let reply = self
            .round_trip(P::GREETS, |out| P::encode(request, out))
            .await?;
        let reply = self.inbox.frame(reply);
        let reply =
            take::<P::Format, _, _>(&self.peer, reply, &mut self.scratch, &mut self.framing)?;
        take_out(reply).ok_or_else(|| strayed(&self.peer))
    }
}

impl<F: Framing> Channel<F> {
    /// Does the same as [`call_with`](Self::call_with) for one operation, whose reply `process`
    /// takes out of the type of all.
    #[doc(hidden)]
    pub async fn call_for<P, T>(
        &self,
        request: P::Request<'_>,
        process: impl FnOnce(P::Value<'_>) -> Option<T>,
    ) -> Result<T>
    where
        P: Callable<Framing = F>,
    {
        let output = self.call_with::<P, _>(request, process).await?;
        output.ok_or_else(|| strayed(self.peer()))
    }
}

#[cold]
fn strayed(peer: &Peer) -> Error {
    let source = DecodeError::new("the reply is that of another operation");
    unreadable(peer, source)
}

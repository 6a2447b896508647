//! The calls of the generated clients of [modules](crate::server_protocol).

use super::{Channel, call::Origin, decode};
use crate::{
    Error, Result,
    client::fault::{Fault, OUT_OF_SYNC},
    framing::Framing,
    protocol::CallContract,
};

impl<F: Framing> Channel<F> {
    /// Like [`call_with`](Self::call_with), but `process` extracts the reply of one operation from that of the module.
    /// The connection closes after any other message: all later replies would be those of earlier requests.
    #[doc(hidden)]
    pub async fn call_for<P, T>(
        &self,
        request: P::Request<'_>,
        process: impl FnOnce(P::Value<'_>) -> Option<T>,
    ) -> Result<T>
    where
        P: CallContract<Framing = F>,
    {
        let (reply, origin) = self.reply_to::<P>(request).await?;
        let mut scratch = Vec::new();
        // Closed also after a panic: which operation that reply was for is unknown.
        let mut guard = FailOnDrop {
            origin,
            is_complete: false,
        };
        let reply = decode::<P::Format, _, _>(&reply, &mut scratch, origin)?;
        let output = process(reply).ok_or_else(|| Error::wrong_operation(&origin.peer()))?;
        guard.is_complete = true;
        Ok(output)
    }
}

/// The use of the reply to an operation. Dropping the value before the use is complete closes the connection.
struct FailOnDrop<'a, F: Framing> {
    origin: Origin<'a, F>,
    is_complete: bool,
}

impl<F: Framing> Drop for FailOnDrop<'_, F> {
    fn drop(&mut self) {
        if !self.is_complete {
            self.origin.fail(Fault::Broken(OUT_OF_SYNC));
        }
    }
}

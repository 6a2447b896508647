//! How a channel is created from its options.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Channel,
    budget::RetryBudget,
    connector::{Connector, Target},
    driver::Driver,
    options::ChannelOptions,
    pool::Pool,
    reconnector::{Reconnector, is_permanent},
    stats::ChannelStats,
};
use crate::{
    Address, Error, Result,
    client::{
        connect::race,
        options::{ConnectOptions, MAX_TIMEOUT},
    },
    framing::Framing,
    limit::check_zero,
    runtime::{Instead, inside_runtime},
    sync::Mutex,
};

/// The most connections to each address.
const MAX_CONNECTIONS: usize = 65_536;

impl<F: Framing> ChannelOptions<F> {
    /// Creates the channel, and makes its first connection.
    ///
    /// The connection is to any of the addresses. They are tried in their order, the next one 250 ms after the one before,
    /// or at once when that fails. The first connection is taken. Each attempt has the
    /// [connect timeout](ConnectOptions::connect_timeout). To have no connection is an error only here: later, calls wait
    /// for one.
    ///
    /// # Errors
    ///
    /// If no address answers, the error of the first one, or of the first that another attempt would not mend, such as a
    /// rejected login: an error of [`ConnectOptions::connect`], or of the function of [`on_connect`](Self::on_connect).
    /// [`Setting`](crate::ErrorKind::Setting) for an invalid value.
    ///
    /// # Panics
    ///
    /// As [`ConnectOptions::connect`] does.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping the future closes the connection.
    pub async fn connect(self) -> Result<Channel<F>> {
        let number = self.targets.len();
        let channel = self.connect_lazily()?;
        inside_runtime("connect()", Instead::Nothing)?;
        let mut failure = None;
        let failed = |error: Error| {
            // A rejected login is told rather than a server that is down.
            let is_told = |former: &Error| is_permanent(former) || !is_permanent(&error);
            failure = failure.take().filter(is_told).or(Some(error));
        };
        // The first connection to each address.
        let firsts = channel.pool.connections.iter().take(number);
        let firsts = firsts.filter_map(|it| Some((it, it.connector.as_ref()?)));
        let deadline = Instant::now() + MAX_TIMEOUT;
        let connected = race(
            firsts.collect(),
            deadline,
            |(subchannel, connector)| async move {
                let connection = connector.connect(subchannel.index).await?;
                Ok((subchannel, connector, connection))
            },
            failed,
        );
        if let Some((subchannel, connector, connection)) = connected.await {
            let driver = Driver::attach(subchannel, connection);
            Reconnector::new(Arc::clone(subchannel), Arc::clone(connector)).spawn(Some(driver));
        } else if let Some(error) = failure {
            return Err(error);
        }
        Ok(channel)
    }

    /// Creates the channel without a connection. The first call makes one.
    ///
    /// It can be called outside of a runtime. If the runtime in which a connection was made ends, the next call makes
    /// another one in its own.
    ///
    /// # Errors
    ///
    /// [`Setting`](crate::ErrorKind::Setting) for an invalid value, and [`Resolve`](crate::ErrorKind::Resolve) for an
    /// invalid address.
    pub fn connect_lazily(mut self) -> Result<Channel<F>> {
        const {
            Channel::<F>::assert_framing();
        }
        self.check()?;
        // Without pings in the framing, the interval does nothing.
        if self.upkeep.ping_interval.is_some() && F::default().ping(&mut Vec::new()) {
            self.options.keep_alive_with_pings();
        }
        let (options, number) = (self.options.clone(), self.targets.len() * self.connections);
        let connector = Arc::new(Connector {
            options: self.options,
            targets: self.targets,
            on_connect: self.on_connect,
            upkeep: self.upkeep,
            min_backoff: self.min_backoff,
            max_backoff: self.max_backoff,
            address_stats: Mutex::default(),
        });
        let stats = ChannelStats::new(self.retries.then(RetryBudget::new));
        let mut channel = Channel::over(Pool::new(number, options, stats, Some(&connector)));
        channel.options.deadline = self.deadline;
        Ok(channel)
    }

    fn check(&self) -> Result<()> {
        self.options.check(F::MIN_MESSAGE_LEN)?;
        for target in &self.targets {
            if let Target::Address(address) = target {
                address.check()?;
            }
        }
        if self.connections > MAX_CONNECTIONS {
            return Err(Error::setting(
                "connections",
                format_args!("is more than {MAX_CONNECTIONS}"),
            ));
        }
        if self.min_backoff > self.max_backoff {
            return Err(Error::setting(
                "backoff",
                "has a longer first wait than the longest one",
            ));
        }
        let is_zero = |limit| limit == Some(Duration::ZERO);
        check_zero(&[
            ("connections", self.connections == 0),
            ("deadline", is_zero(self.deadline)),
            (
                "backoff",
                self.min_backoff.is_zero() || self.max_backoff.is_zero(),
            ),
            ("idle_timeout", is_zero(self.upkeep.idle_timeout)),
            ("ping_interval", is_zero(self.upkeep.ping_interval)),
            ("max_age", is_zero(self.upkeep.max_age)),
        ])
    }
}

impl ConnectOptions {
    /// Connects like [`connect`](Self::connect), and returns a channel, which many tasks can share. It reconnects when
    /// the connection has ended. [`ChannelOptions`] has the other settings of channels.
    ///
    /// # Errors
    ///
    /// The errors of [`ChannelOptions::connect`].
    ///
    /// # Panics
    ///
    /// As [`connect`](Self::connect) does.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping the future closes the connection.
    pub async fn channel<F: Framing>(&self, address: impl Into<Address>) -> Result<Channel<F>> {
        ChannelOptions::new(address)
            .connect_options(self.clone())
            .connect()
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::{LengthPrefixed, Lines};

    /// Returns the keepalive timeout in seconds of a channel with pings.
    fn keepalive<F: Framing>() -> Option<u64> {
        let second = Duration::from_secs(1);
        let options = ConnectOptions::new().keepalive_timeout(second);
        let channel: Channel<F> = ChannelOptions::new("127.0.0.1:1")
            .connect_options(options.reply_timeout(30 * second))
            .ping_interval(second)
            .connect_lazily()
            .expect("good options");
        let limit = channel.pool.options.keepalive_timeout;
        limit.map(|limit| limit.as_secs())
    }

    #[test]
    fn interval_of_pings_changes_nothing_if_the_framing_has_none() {
        assert_eq!(keepalive::<LengthPrefixed>(), Some(30));
        assert_eq!(keepalive::<Lines>(), Some(1));
    }
}

//! Limits per address of a peer, so that no address takes the whole server.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::limits::Limits;
use crate::{Peer, Rejection, panics::lock, sync::Mutex};

/// The addresses of the open connections.
pub(super) struct Addresses {
    /// The maximum number of connections of each address.
    max_connections: usize,
    known: Mutex<HashMap<IpAddr, Arc<Mutex<Counts>>>>,
}

/// The connections and requests of an address.
#[derive(Debug)]
struct Counts {
    connections: usize,
    in_flight: usize,
    /// The time at which the token bucket is full again. The bucket has room for the requests of one second.
    full_at: Instant,
}

/// A connection that its address counts as open, until this value is dropped.
#[derive(Debug)]
pub(super) struct AddressConnection(Arc<Mutex<Counts>>);

/// A request that its address counts as in flight, until this value is dropped.
#[derive(Debug)]
pub(super) struct AddressRequest(Arc<Mutex<Counts>>);

impl Drop for AddressConnection {
    fn drop(&mut self) {
        lock(&self.0).connections -= 1;
    }
}

impl Drop for AddressRequest {
    fn drop(&mut self) {
        lock(&self.0).in_flight -= 1;
    }
}

impl Addresses {
    pub(super) fn new(max_connections: usize) -> Self {
        Self {
            max_connections,
            known: Mutex::default(),
        }
    }

    /// Counts a connection, for as long as it holds the result. Returns `None` for a peer whose address is not
    /// limited, and an error if the address has too many connections.
    pub(super) fn connect(&self, peer: &Peer) -> Result<Option<AddressConnection>, Rejection> {
        let Some(key) = peer.addr().and_then(|addr| limited(addr.ip())) else {
            return Ok(None);
        };
        let (mut known, now) = (lock(&self.known), Instant::now());
        // The map is cleaned only when it would grow, so that the cost of a connection does not depend on the size of
        // the map.
        if known.len() == known.capacity() {
            known.retain(|_, counts| {
                let counts = lock(counts);
                // A peer that reconnects does not get a full bucket.
                counts.connections > 0 || counts.in_flight > 0 || counts.full_at > now
            });
        }
        let counts = known.entry(key).or_insert_with(|| {
            Arc::new(Mutex::new(Counts {
                connections: 0,
                in_flight: 0,
                full_at: now,
            }))
        });
        let mut locked = lock(counts);
        if locked.connections >= self.max_connections {
            let limit = self.max_connections;
            let text = format!(
                "this address has {limit} open connections (`max_connections_per_address`)"
            );
            return Err(Rejection::too_many_connections(text));
        }
        locked.connections += 1;
        Ok(Some(AddressConnection(Arc::clone(counts))))
    }
}

impl AddressConnection {
    /// Counts a request that begins, unless it exceeds a limit. A drop of the result ends the request.
    pub(super) fn begin_request(&self, limits: &Limits) -> Result<AddressRequest, Rejection> {
        const SECOND: Duration = Duration::from_secs(1);
        let (most, rate) = (
            limits.max_in_flight_per_address,
            limits.max_request_rate_per_address,
        );
        let (mut counts, now) = (lock(&self.0), Instant::now());
        let full_at = counts.full_at.max(now) + SECOND / rate;
        Err(Rejection::busy(if counts.in_flight >= most {
            format!("this address has {most} requests in flight (`max_in_flight_per_address`)")
        } else if full_at > now + SECOND {
            format!(
                "this address sends more than {rate} requests per second (`max_request_rate_per_address`)"
            )
        } else {
            counts.in_flight += 1;
            counts.full_at = full_at;
            return Ok(AddressRequest(Arc::clone(&self.0)));
        }))
    }
}

/// Returns the address under which a peer counts, or `None` if it does not count.
///
/// An IPv6 peer usually has a network of 64 bits, and can use any address of it.
fn limited(ip: IpAddr) -> Option<IpAddr> {
    match ip.to_canonical() {
        // A loopback address is also that of each peer behind a proxy on this machine.
        ip if ip.is_loopback() => None,
        IpAddr::V4(ip) => Some(ip.into()),
        IpAddr::V6(ip) => Some(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RejectionKind;

    fn peer(addr: &str) -> Peer {
        Peer::at(addr.parse().expect("an address"))
    }

    #[test]
    fn addresses_are_counted_by_ipv4_address_and_ipv6_network() {
        let addresses = Addresses::new(2);
        for [first, second, third, other] in [
            [
                "192.0.2.1:1",
                "192.0.2.1:2",
                "[::ffff:192.0.2.1]:3",
                "192.0.2.2:1",
            ],
            [
                "[2001:db8::1]:1",
                "[2001:db8::2]:1",
                "[2001:db8::ffff:0:0:1]:1",
                "[2001:db8:0:1::1]:1",
            ],
        ] {
            let first = addresses.connect(&peer(first)).expect("room");
            let _second = addresses.connect(&peer(second)).expect("room");
            let rejection = addresses.connect(&peer(third)).expect_err("too many");
            assert_eq!(rejection.kind(), RejectionKind::TooManyConnections);
            addresses.connect(&peer(other)).expect("another address");
            drop(first);
            addresses.connect(&peer(third)).expect("room again");
        }
    }

    #[test]
    fn peers_of_this_machine_and_without_an_address_are_not_counted() {
        let addresses = Addresses::new(1);
        let unnamed = Peer::unnamed();
        for peer in [
            peer("127.0.0.2:1"),
            peer("[::1]:1"),
            peer("[::ffff:127.0.0.1]:1"),
            unnamed,
        ] {
            assert!(addresses.connect(&peer).expect("no limit").is_none());
        }
    }

    #[test]
    fn addresses_without_connections_are_forgotten() {
        let addresses = Addresses::new(1);
        let kept = addresses.connect(&peer("192.0.2.1:1")).expect("room");
        for last in 0..10_000 {
            let ip = u32::from_be_bytes([10, 0, 0, 0]) + last;
            let peer = Peer::at((std::net::Ipv4Addr::from_bits(ip), 1).into());
            addresses.connect(&peer).expect("room");
        }
        let known = addresses.known.lock().expect("no panic");
        assert!(known.len() < 10, "{}", known.len());
        assert!(kept.is_some() && known.contains_key(&IpAddr::from([192, 0, 2, 1])));
    }
}

//! Addresses for programs that cannot choose a free port.

use std::{
    array,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process,
};

/// Returns free addresses of this machine.
///
/// They have an IP address that no other process uses: 127.0.0.0/8 is this machine, and the process id has 22 bits. So
/// nobody takes a port until the program has it, as somebody could on 127.0.0.1.
pub(crate) fn own_addrs<const N: usize>() -> [SocketAddr; N] {
    let [_, high, middle, low] = process::id().to_be_bytes();
    let ip = Ipv4Addr::new(127, 64 | high, middle, low);
    // All at once, so that each is another.
    let listeners: [_; N] =
        array::from_fn(|_| TcpListener::bind((ip, 0)).expect("127.0.0.0/8 is this machine"));
    listeners.map(|listener| listener.local_addr().expect("it listens"))
}

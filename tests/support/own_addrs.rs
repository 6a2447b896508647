//! Addresses that no other process uses.

use std::{
    array,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process,
};

/// Returns an IP address of this machine that no other process uses, so that nobody takes a port there: neither one that
/// was closed, nor one that a program is to have. On Linux, 127.0.0.0/8 is this machine, and a process id has 22 bits.
pub fn own_ip() -> Ipv4Addr {
    let [_, high, middle, low] = process::id().to_be_bytes();
    if cfg!(target_os = "linux") {
        Ipv4Addr::new(127, 64 | high, middle, low)
    } else {
        Ipv4Addr::LOCALHOST
    }
}

/// Returns free addresses, for programs that cannot choose a free port.
pub fn own_addrs<const N: usize>() -> [SocketAddr; N] {
    // All at once, so that each is another.
    let listeners: [_; N] =
        array::from_fn(|_| TcpListener::bind((own_ip(), 0)).expect("it is this machine"));
    listeners.map(|listener| listener.local_addr().expect("it listens"))
}

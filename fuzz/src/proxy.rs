//! Any PROXY header before a request.

use arbitrary::{Arbitrary, Unstructured};
use tcs::{
    Peer,
    transport::{Handshake as _, ProxyHeader, Stream},
};

use crate::in_virtual_time;

/// What a header may begin with.
const BEGINNINGS: [&[u8]; 6] = [
    b"",
    b"PROXY ",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 ",
    b"PROXY UNKNOWN",
    b"\r\n\r\n\0\r\nQUIT\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
];

/// Reads a header, in pieces.
pub fn check(data: &[u8]) {
    let Ok((beginning, room, rest)) =
        <(u8, u8, &[u8])>::arbitrary_take_rest(Unstructured::new(data))
    else {
        return;
    };
    let bytes = [BEGINNINGS[usize::from(beginning) % BEGINNINGS.len()], rest].concat();
    in_virtual_time(async {
        let header = ProxyHeader::from_networks(&["127.0.0.0/8"]).expect("a network");
        let (mut near, far) = tokio::io::duplex(1 + usize::from(room));
        let writing = async {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut near, &bytes).await;
            drop(near);
        };
        let mut peer = Peer::unnamed();
        // It is dropped when it ends, so that what is behind the header can be written.
        let reading = async { drop(header.perform(Stream::new(far), &mut peer).await) };
        tokio::join!(writing, reading);
    });
}

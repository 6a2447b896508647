//! Sends a number of requests and checks the replies: `count ADDRESS REQUESTS DEPTH SIZE`.
//!
//! Blocking and single-threaded: what is counted is the server.

use std::{
    env,
    io::{self, Read as _, Write as _},
    net::TcpStream,
};

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let number = |at: usize| arguments[at].parse::<usize>().expect("a number");
    let (requests, depth, size) = (number(1), number(2), number(3));
    let mut stream = TcpStream::connect(&arguments[0])?;
    stream.set_nodelay(true)?;
    let length = u32::try_from(size).expect("small").to_be_bytes();
    let frame = [&length[..], &vec![b'x'; size]].concat();
    let batch = frame.repeat(depth);
    let mut replies = vec![0; batch.len()];
    for _ in 0..requests / depth {
        stream.write_all(&batch)?;
        stream.read_exact(&mut replies)?;
        assert_eq!(batch, replies, "an echo");
    }
    Ok(())
}

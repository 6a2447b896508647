//! Holds idle connections: `hold ADDRESS CONNECTIONS [framed|tls]`. Prints a line of JSON when the server
//! has accepted all of them. For each line that it reads it asks once on each connection, and prints
//! another; it ends with its input.

use std::{
    env,
    error::Error,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::ClientConfig;
use socket2::{Domain, Socket, Type};
use tcs_benches::tls::{ClientStream, client_config};

/// How long a server may take for anything.
const LIMIT: Duration = Duration::from_secs(30);

/// Each loopback address has some 28,000 ports, and others use them as well.
const ADDRESSES: usize = 64;

/// How many may wait to be accepted: what a full backlog drops is sent again a second later.
const WAVE: usize = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let mut next = || arguments.next().ok_or("an argument is missing");
    let (address, count) = (next()?.parse()?, next()?.parse::<usize>()?);
    let tls = (next().as_deref() == Ok("tls"))
        .then(client_config)
        .transpose()?;
    let start = Instant::now();
    let mut streams = Vec::with_capacity(count);
    while streams.len() < count {
        let wave = WAVE.min(count - streams.len());
        for _ in 0..wave {
            streams.push(open(address, tls.as_ref(), streams.len())?);
        }
        // A connection that is accepted and answered last proves that those before it were.
        ask(&mut open(address, tls.as_ref(), count)?)?;
    }
    tell(count, start);
    for line in io::stdin().lines() {
        line?;
        let start = Instant::now();
        streams.iter_mut().try_for_each(ask)?;
        tell(count, start);
    }
    Ok(())
}

fn open(
    address: SocketAddr,
    tls: Option<&Arc<ClientConfig>>,
    number: usize,
) -> io::Result<ClientStream<TcpStream>> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_tcp_nodelay(true)?;
    // A reset leaves no port behind that nobody can use for a minute.
    socket.set_linger(Some(Duration::ZERO))?;
    socket.set_read_timeout(Some(LIMIT))?;
    let last = u8::try_from(number % ADDRESSES).map_err(io::Error::other)? + 32;
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)).into())?;
    socket.connect(&address.into())?;
    let mut stream = ClientStream::new(socket.into(), tls)?;
    // Performs the handshake.
    stream.flush()?;
    Ok(stream)
}

fn ask(stream: &mut ClientStream<TcpStream>) -> io::Result<()> {
    let request = [&[0, 0, 0, 64][..], &[b'x'; 64]].concat();
    let mut reply = vec![0; request.len()];
    stream.write_all(&request)?;
    stream.read_exact(&mut reply)?;
    if reply != request {
        return Err(io::Error::other("a reply is not what was sent"));
    }
    Ok(())
}

fn tell(connections: usize, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    println!("{{\"connections\": {connections}, \"seconds\": {seconds:.6}}}");
}

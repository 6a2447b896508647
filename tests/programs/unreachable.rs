//! One end of connections becomes unreachable for the other: `unreachable peers|server|pinged SECONDS`, in a network namespace of
//! its own. The program prints when each connection has ended, in milliseconds.
//!
//! - `peers`: One peer is idle, and a function waits for the other. The program takes the address of the peers away.
//! - `server`: One channel is idle, and a call of another channel and one of a connection wait for their replies. The
//!   program takes the address of the server away.
//! - `pinged`: Channels of several options are idle, and send pings or not. A call of one more channel is made after the
//!   program has taken the address of the server away.

use std::{
    env,
    net::SocketAddr,
    process::Command,
    sync::mpsc,
    time::{Duration, Instant},
};

use tcs::{
    Channel, ConcurrentServer, ConnectionInfo, Execution, Rejection,
    client::{ChannelOptions, ConnectOptions},
    format::Plain,
    framing::Lines,
    protocol::{Context, ServerProtocol},
    server_protocol,
};
use tcs_tests::client::Text;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    runtime::Runtime,
    task::JoinSet,
    time::timeout,
};

struct Waits(mpsc::Sender<()>);

/// Tells when its connection has ended.
struct Session(mpsc::Sender<()>);

impl Drop for Session {
    fn drop(&mut self) {
        self.0.send(()).ok();
    }
}

impl ServerProtocol for Waits {
    type Framing = Lines;
    type Format = Plain;
    type Session = Session;
    type Request<'a> = &'a str;
    type Reply<'a> = &'static str;

    fn open_session(&self, _info: &ConnectionInfo) -> Session {
        Session(self.0.clone())
    }

    async fn process_request(
        &self,
        _context: Context<'_, Session>,
        request: &str,
    ) -> Result<&'static str, Rejection> {
        if request == "wait" {
            std::future::pending::<()>().await;
        }
        Ok("served")
    }
}

/// The address of the end that becomes unreachable.
const GONE: &str = "10.9.9.9";

/// The address of the other end. Linux sends nothing from 127.0.0.1 to another machine.
const HERE: &str = "10.9.9.1";

async fn connect(addr: SocketAddr, request: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    let peer = format!("{GONE}:0").parse().expect("an address");
    socket.bind(peer).expect("it is an address of this machine");
    let mut peer = socket.connect(addr).await.expect("it listens");
    peer.write_all(b"served\n").await.expect("it reads");
    let mut reply = [0; 7];
    peer.read_exact(&mut reply).await.expect("a reply");
    peer.write_all(request.as_bytes()).await.expect("it reads");
    peer
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    assert!(status.expect("it is installed").success(), "ip {arguments}");
}

/// Connects the program to nobody: what is sent to `GONE` arrives at the end of a cable where nobody has the address, once
/// this machine does not have it any more.
fn plug_in() {
    ip("link set lo up");
    ip(&format!("address add {GONE}/32 dev lo"));
    ip(&format!("address add {HERE}/32 dev lo"));
    ip("link add near type veth peer name far");
    ip("link set near up arp off");
    ip("link set far up");
    ip(&format!("route add {GONE}/32 dev near"));
}

fn main() {
    let mut arguments = env::args().skip(1);
    let end = arguments.next().expect("an end");
    let seconds = arguments.next().expect("a number of seconds");
    let limit = Duration::from_secs(seconds.parse().expect("a number"));
    plug_in();
    match &*end {
        "peers" => lose_peers(limit),
        "server" => lose_server(limit),
        "pinged" => lose_pinged_server(limit),
        _ => panic!("no end is called {end}"),
    }
    std::process::exit(0);
}

fn lose_peers(limit: Duration) {
    let (ended, ends) = mpsc::channel();
    let server = ConcurrentServer::new(Waits(ended))
        .address((HERE, 0))
        .idle_timeout(None)
        .keepalive_timeout(limit);
    let server = server.start().expect("a free port");
    let addr = server.local_addr();
    let runtime = Runtime::new().expect("threads");
    let peers = ["", "wait\n"].map(|request| runtime.block_on(connect(addr, request)));

    ip(&format!("address del {GONE}/32 dev lo"));
    let began = Instant::now();
    for _ in &peers {
        ends.recv_timeout(4 * limit).expect("the connection ends");
        println!("{}", began.elapsed().as_millis());
    }
}

fn lose_server(limit: Duration) {
    // What is sent to the server must not have the server's own address as its source.
    ip(&format!(
        "route change table local local {GONE} dev lo src {HERE}"
    ));
    let (ended, _ends) = mpsc::channel();
    let server = ConcurrentServer::new(Waits(ended)).address((GONE, 0));
    let server = server.start().expect("a free port");
    let addr = server.local_addr();
    Runtime::new().expect("threads").block_on(async {
        let options = ConnectOptions::new()
            .keepalive_timeout(limit)
            .reply_timeout(None);
        let channel = || async {
            let channel: Channel<Lines> = ChannelOptions::new(addr)
                .connect_options(options.clone())
                .idle_timeout(None)
                .connect()
                .await
                .expect("it listens");
            assert_eq!(call(&channel, "").await.expect("it serves"), "served");
            channel
        };
        let (idle, waiting) = (channel().await, channel().await);
        let mut connection = options.connect::<Lines>(addr).await.expect("it listens");
        let first = connection.call::<Text<Lines>>("").await;
        assert_eq!(first.expect("it serves"), "served");
        let mut state = idle.watch();
        let ended = async {
            let ended = state.wait_for(|state| state.connected == 0).await;
            drop(ended.expect("the channel lasts"));
            Instant::now()
        };
        let is_lost = |result: tcs::Result<()>| {
            let error = result.expect_err("no reply");
            assert_eq!(error.execution(), Execution::Unknown, "{error:?}");
            Instant::now()
        };
        let calls = [
            tokio::spawn(async move { is_lost(call(&waiting, "wait").await.map(drop)) }),
            tokio::spawn(
                async move { is_lost(connection.call::<Text<Lines>>("wait").await.map(drop)) },
            ),
        ];
        // They are sent, and acknowledged.
        tokio::time::sleep(Duration::from_millis(500)).await;

        ip(&format!("route del table local local {GONE} dev lo"));
        let began = Instant::now();
        // Each notes the time by itself, also while another is awaited.
        let [first, second] = calls;
        let all = async { tokio::join!(ended, first, second) };
        let (ended, first, second) = timeout(4 * limit, all).await.expect("they end");
        for end in [ended, first.expect("no panic"), second.expect("no panic")] {
            println!("{}", end.duration_since(began).as_millis());
        }
    });
}

/// Echoes.
#[server_protocol]
fn echo(text: &str) -> &str {
    text
}

fn lose_pinged_server(limit: Duration) {
    ip(&format!(
        "route change table local local {GONE} dev lo src {HERE}"
    ));
    let server = ConcurrentServer::new(Echo).address((GONE, 0));
    let server = server.start().expect("a free port");
    let addr = server.local_addr();
    let pings = Some(limit / 8);
    // The defaults have a reply timeout of a quarter of the limit. Without pings, a longer one makes no difference.
    let idle = [
        (Some(limit / 4), None),
        (Some(limit / 4), pings),
        (Some(limit * 9 / 8), pings),
        (None, None),
    ];
    Runtime::new().expect("threads").block_on(async {
        let channel = |reply: Option<Duration>, ping| async move {
            let options = ConnectOptions::new()
                .keepalive_timeout(limit)
                .reply_timeout(reply);
            let channel: Channel = ChannelOptions::new(addr)
                .connect_options(options)
                .idle_timeout(None)
                .ping_interval(ping)
                .connect()
                .await
                .expect("it listens");
            let reply = channel.call_with::<Echo, _>("served", str::to_owned).await;
            assert_eq!(reply.expect("it serves"), "served");
            channel
        };
        let mut ends = JoinSet::new();
        for (reply, ping) in idle {
            let idle = channel(reply, ping).await;
            ends.spawn(async move {
                let mut state = idle.watch();
                let ended = state.wait_for(|state| state.connected == 0).await;
                drop(ended.expect("the channel lasts"));
                Instant::now()
            });
        }
        let calling = channel(Some(limit), None).await;

        ip(&format!("route del table local local {GONE} dev lo"));
        let began = Instant::now();
        ends.spawn(async move {
            let late = calling.call_with::<Echo, _>("late", str::to_owned).await;
            let late = late.expect_err("it is gone");
            assert_eq!(late.execution(), Execution::Unknown);
            Instant::now()
        });
        let ends = timeout(4 * limit, ends.join_all()).await.expect("they end");
        for end in ends {
            println!("{}", end.duration_since(began).as_millis());
        }
    });
}

async fn call(channel: &Channel<Lines>, request: &str) -> tcs::Result<String> {
    channel
        .call_with::<Text<Lines>, _>(request, str::to_owned)
        .await
}

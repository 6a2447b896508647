//! Streams, events, halves and subscriptions of clients, over each transport.

use std::{
    future::pending,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use tcs::{
    Channel, ConcurrentServer, Connection,
    client::{ChannelEvent, ChannelOptions, ConnectOptions, ReplyOrEvent},
    format::Json,
    framing::{Framing, Multiplexed},
    protocol::{Push, Replies, ServerProtocol},
    server::{Report, ServerHandle},
    server_protocol,
    transport::{ClientTls, MemoryConnector, UnixSocketListener, memory},
};
use tcs_tests::{
    Over, over_each, scratch_path,
    tls::{Identity, Root},
    within,
};
use tokio::{sync::Notify, task::JoinHandle};

over_each!(
    stream_ends_and_another_one_is_dropped,
    events_come_between_calls,
    halves_are_in_two_tasks,
    subscription_is_renewed_after_a_restart,
    streams_of_a_channel_go_on_beside_a_dropped_call,
);

/// A place where one server after the other listens, and how clients connect to it.
struct Site {
    over: Over,
    addr: SocketAddr,
    path: PathBuf,
    root: Root,
    identity: Identity,
    connector: Arc<Mutex<Option<MemoryConnector>>>,
}

/// A server that runs.
struct Serving {
    handle: ServerHandle,
    task: JoinHandle<tcs::Result<Report>>,
}

impl Serving {
    async fn stopped(self) -> Report {
        self.handle.stop();
        let served = within(self.task).await.expect("no panic");
        served.expect("it served")
    }
}

impl Site {
    fn new(over: Over) -> Self {
        let root = Root::new();
        Self {
            over,
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            path: scratch_path("sock"),
            identity: root.issue("localhost"),
            root,
            connector: Arc::default(),
        }
    }

    /// Starts a server, at the address of the one before it.
    async fn start<P: ServerProtocol>(&mut self, protocol: P) -> Serving {
        let server = ConcurrentServer::new(protocol);
        let server = match self.over {
            Over::Tcp => server.address(self.addr),
            Over::Tls => server.address(self.addr).tls(self.identity.server()),
            Over::Unix => {
                let socket = UnixSocketListener::bind(&self.path, 0o600);
                server.listener(socket.expect("a free path"))
            }
            Over::Memory => {
                let (listener, connector) = memory();
                *self.connector.lock().expect("no panic") = Some(connector);
                server.listener(listener)
            }
        };
        let bound = within(server.bind()).await.expect("a free address");
        if self.over.has_address() {
            self.addr = bound.local_addr();
        }
        Serving {
            handle: bound.handle(),
            task: tokio::spawn(bound.listen()),
        }
    }

    /// Returns the address for clients, with their options. In memory, there is none.
    fn address(&self) -> Option<(String, ConnectOptions)> {
        let options = ConnectOptions::new();
        Some(match self.over {
            Over::Tcp => (self.addr.to_string(), options),
            Over::Unix => (format!("unix:{}", self.path.display()), options),
            Over::Tls => {
                let tls = ClientTls::with_roots(self.root.file()).expect("a root");
                let address = format!("tls://localhost:{}", self.addr.port());
                (address, options.tls(tls))
            }
            Over::Memory => return None,
        })
    }

    async fn connection(&self) -> Connection {
        if let Some((address, options)) = self.address() {
            let connected = within(options.connect(address)).await;
            return connected.expect("it listens");
        }
        let connector = self.connector.lock().expect("no panic").clone();
        let connected = within(connector.expect("a server").connect()).await;
        Connection::over(connected.expect("it listens"))
    }

    async fn channel<F: Framing>(&self) -> Channel<F> {
        let options = if let Some((address, options)) = self.address() {
            ChannelOptions::new(address).connect_options(options)
        } else {
            let connector = Arc::clone(&self.connector);
            ChannelOptions::over(move || {
                let connector = connector.lock().expect("no panic").clone();
                async move { connector.expect("a server").connect().await }
            })
        };
        within(options.connect()).await.expect("it listens")
    }
}

/// Streams the numbers below `end`.
#[server_protocol(replies = u64)]
async fn count(end: u64, mut out: Replies<'_, Count>) -> Result<u64, String> {
    out.send_all(0..end).await?;
    Ok(end)
}

async fn stream_ends_and_another_one_is_dropped(over: Over) {
    let mut site = Site::new(over);
    let server = site.start(Count).await;
    let mut connection = site.connection().await;
    // More than what waits to be sent, and than a record of TLS.
    for end in [20_000, u64::MAX, 3] {
        let stream = within(connection.stream::<Count>(end)).await;
        let mut stream = stream.expect("it is open");
        for expected in 0..end.min(20_000) {
            let item = within(stream.next()).await.expect("an item");
            assert_eq!(item, Some(expected));
        }
        if end == u64::MAX {
            drop(stream);
            continue;
        }
        assert_eq!(within(stream.next()).await.expect("the end"), None);
        assert_eq!(within(stream.finish()).await.expect("a reply"), end);
    }
    drop(connection);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.received, requests.served), (3, 2));
}

/// Pushes what it was told.
#[server_protocol(push = u64)]
fn note(number: u64, push: Push<Note>) -> Result<u64, String> {
    push.try_send(number)?;
    Ok(number)
}

async fn events_come_between_calls(over: Over) {
    let mut site = Site::new(over);
    let server = site.start(Note).await;
    let mut connection = site.connection().await;
    for numbers in [[1, 2], [3, 4]] {
        for number in numbers {
            let reply = within(connection.call::<Note>(number)).await;
            assert_eq!(reply.expect("a reply"), number);
        }
        for number in numbers {
            let event = within(connection.next_event::<Note>()).await;
            assert_eq!(event.expect("an event"), number);
        }
    }
    drop(connection);
    server.stopped().await;
}

async fn halves_are_in_two_tasks(over: Over) {
    let mut site = Site::new(over);
    let server = site.start(Note).await;
    let (mut sender, mut receiver) = site.connection().await.split::<Note>();
    let sending = tokio::spawn(async move {
        for number in 0..1_000 {
            sender.send(number).await?;
        }
        Ok::<_, tcs::Error>(())
    });
    let receiving = tokio::spawn(async move {
        let (mut replies, mut events) = (0, 0);
        while replies < 1_000 || events < 1_000 {
            let (count, number) = match receiver.next().await? {
                ReplyOrEvent::Reply(number) => (&mut replies, number),
                ReplyOrEvent::Event(number) => (&mut events, number),
                other => panic!("{other:?}"),
            };
            assert_eq!(number, *count);
            *count += 1;
        }
        Ok::<_, tcs::Error>(())
    });
    for half in [sending, receiving] {
        within(half).await.expect("no panic").expect("it is open");
    }
    server.stopped().await;
}

async fn subscription_is_renewed_after_a_restart(over: Over) {
    let mut site = Site::new(over);
    let server = site.start(Note).await;
    let channel: Channel = site.channel().await;
    let subscribed = within(channel.subscribe::<Note>(1)).await;
    let (reply, mut events) = subscribed.expect("a reply");
    assert_eq!(reply, 1);
    let mut next = async || within(events.next()).await.expect("an event");
    assert_eq!(next().await, ChannelEvent::Event(1));
    let reply = within(channel.call::<Note>(2)).await;
    assert_eq!(reply.expect("a reply"), 2);
    assert_eq!(next().await, ChannelEvent::Event(2));
    server.stopped().await;

    let server = site.start(Note).await;
    assert_eq!(next().await, ChannelEvent::Reconnected);
    assert_eq!(next().await, ChannelEvent::Event(1));
    let reply = within(channel.call::<Note>(3)).await;
    assert_eq!(reply.expect("a reply"), 3);
    assert_eq!(next().await, ChannelEvent::Event(3));
    assert_eq!(channel.state().connects, 2);
    server.stopped().await;
}

/// What `beside::wait` does.
#[derive(Default)]
struct Waits {
    began: Notify,
    was_dropped: Notify,
}

/// Tells that the function was dropped.
struct OnDrop<'a>(&'a Notify);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[server_protocol(framing = Multiplexed, format = Json)]
mod beside {
    use super::*;

    #[replies(u64)]
    pub async fn count(end: u64, mut out: Replies<'_, Count>) -> bool {
        out.send_all(0..end).await.is_ok()
    }

    pub async fn wait(#[state] waits: &Arc<Waits>) {
        let _tells = OnDrop(&waits.was_dropped);
        waits.began.notify_one();
        pending::<()>().await;
    }
}

async fn streams_of_a_channel_go_on_beside_a_dropped_call(over: Over) {
    let mut site = Site::new(over);
    let waits = Arc::new(Waits::default());
    let server = site.start(beside::Protocol::new(Arc::clone(&waits))).await;
    let channel: Channel<Multiplexed> = site.channel().await;
    let client = beside::Client::over(channel.clone());
    // More than the server sends before they are received.
    let mut long = within(client.count(100_000)).await.expect("room");
    let mut short = within(client.count(3)).await.expect("room");
    let caller = client.clone();
    let waiting = tokio::spawn(async move { caller.wait().await });
    within(waits.began.notified()).await;
    assert_eq!(within(long.next()).await.expect("an item"), Some(0));
    assert_eq!(within(short.next()).await.expect("an item"), Some(0));
    waiting.abort();
    within(waits.was_dropped.notified()).await;
    for (mut stream, end) in [(short, 3), (long, 100_000)] {
        for expected in 1..end {
            let item = within(stream.next()).await.expect("an item");
            assert_eq!(item, Some(expected));
        }
        assert_eq!(within(stream.next()).await.expect("the end"), None);
        assert!(within(stream.finish()).await.expect("a reply"));
    }
    assert_eq!(channel.state().connects, 1);
    drop((client, channel));
    server.stopped().await;
}

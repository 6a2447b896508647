//! What clients of operations can be called over, and what their methods take.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tcs::{
    ConcurrentServer, ErrorKind, Execution, blocking, client::ChannelOptions, format::Json,
    framing::LengthPrefixed, server_protocol, transport::memory,
};
use tcs_tests::{LIMIT, Running, start, threads::joined, within};
use tokio::{
    io::{copy_bidirectional, duplex},
    sync::Notify,
    task::JoinSet,
};

#[server_protocol(format = Json)]
mod notes {
    use super::*;

    pub fn add(author: String, text: Box<str>, #[state] count: &AtomicU64) -> String {
        count.fetch_add(1, Relaxed);
        format!("{author}: {text}")
    }

    pub fn attach(path: PathBuf, bytes: Vec<u8>, tags: Vec<String>) -> (PathBuf, usize) {
        (path, bytes.len() + tags.len())
    }

    /// Counts the notes.
    #[idempotent]
    pub fn count(#[state] count: &AtomicU64) -> u64 {
        count.load(Relaxed)
    }

    pub async fn never() {
        std::future::pending::<()>().await;
    }

    #[idempotent]
    pub fn first_word(text: &str) -> &str {
        text.split(' ').next().unwrap_or_default()
    }
}

async fn serve() -> Running {
    start(ConcurrentServer::new(notes::Protocol::new(AtomicU64::new(
        0,
    ))))
    .await
}

#[tokio::test]
async fn arguments_are_converted() {
    let server = serve().await;
    let client = within(notes::Client::connect(server.addr())).await;
    let mut client = client.expect("it listens");
    assert_eq!(
        within(client.add("ann", "a")).await.expect("a reply"),
        "ann: a"
    );
    let (author, text) = (String::from("ann"), Box::<str>::from("b"));
    assert_eq!(
        within(client.add(author, text)).await.expect("a reply"),
        "ann: b"
    );
    assert_eq!(
        within(client.add('c', "c".to_owned()))
            .await
            .expect("a reply"),
        "c: c"
    );

    let client = client.into_channel().expect("it is usable");
    let reply = within(client.attach("a/b", b"abc", vec![])).await;
    assert_eq!(reply.expect("a reply"), (PathBuf::from("a/b"), 3));
    // The type of an integer is inferred.
    let reply = within(client.attach(Path::new("c"), vec![1, 2], vec!["d".into()])).await;
    assert_eq!(reply.expect("a reply"), (PathBuf::from("c"), 3));
    drop(client);
    server.stopped().await;
}

/// The future of a call may move to another thread, whatever was converted for it.
#[tokio::test]
async fn future_of_a_call_is_send() {
    let server = serve().await;
    let client = within(notes::Client::connect(server.addr())).await;
    let client = client
        .and_then(notes::Client::into_channel)
        .expect("it listens");
    let call = tokio::spawn(async move { client.add(&String::from("ann"), "a").await });
    let reply = within(call).await.expect("no panic");
    assert_eq!(reply.expect("a reply"), "ann: a");
    server.stopped().await;
}

#[tokio::test]
async fn deadline_limits_the_call_after_it() {
    const SHORT: Duration = Duration::from_millis(5);
    let late = |result: tcs::Result<()>| {
        let error = result.expect_err("there is no reply");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    };
    let server = serve().await;
    let addr = server.addr();
    let connect = || async move {
        within(notes::Client::connect(addr))
            .await
            .expect("it listens")
    };

    let mut client = connect().await;
    late(within(client.deadline(SHORT).never()).await);
    drop(client);

    let client = connect().await.into_channel().expect("it is usable");
    late(within(client.deadline(SHORT).never()).await);
    let limited = client.deadline(SHORT);
    late(within(limited.never()).await);
    drop((client, limited));

    let calls = tokio::task::spawn_blocking(move || {
        let mut client = notes::Client::over(blocking::Connection::connect(addr)?);
        late(client.deadline(SHORT).never());
        let client = notes::Client::over(blocking::Channel::connect(addr)?);
        late(client.deadline(SHORT).never());
        Ok::<(), tcs::Error>(())
    });
    within(calls).await.expect("no panic").expect("it listens");
    // The functions still wait.
    server.handle().abort();
    let error = server.result().await.expect_err("it is aborted");
    assert_eq!(error.kind(), ErrorKind::Interrupted);
}

#[tokio::test]
async fn client_calls_without_async() {
    let server = serve().await;
    let addr = server.addr();
    let calls = tokio::task::spawn_blocking(move || {
        let connection = blocking::Connection::connect(addr)?;
        let mut client = notes::Client::over(connection);
        assert_eq!(client.add("ann", "a")?, "ann: a");
        // The reply borrows from the connection.
        let word: &str = client.deadline(LIMIT).first_word("a b")?;
        assert_eq!(word, "a");
        drop(client);

        let client = notes::Client::over(blocking::Channel::connect(addr)?);
        let threads = [client.clone(), client.clone()];
        let threads = threads.map(|client| std::thread::spawn(move || client.add("bob", "b")));
        for thread in threads {
            assert_eq!(joined(thread)?, "bob: b");
        }
        assert_eq!(client.deadline(LIMIT).count()?, 3);
        client.first_word("a b", str::len)
    });
    let length = within(calls).await.expect("no panic");
    assert_eq!(length.expect("the replies"), 1);
    server.stopped().await;
}

/// How often functions were executed. The first time, they do not return.
#[derive(Default)]
struct Executions {
    count: AtomicU64,
    began: Notify,
}

impl Executions {
    async fn execute(&self) -> u64 {
        let number = self.count.fetch_add(1, Relaxed) + 1;
        if number == 1 {
            self.began.notify_one();
            std::future::pending::<()>().await;
        }
        number
    }
}

#[server_protocol(format = Json)]
mod shop {
    use super::*;

    #[idempotent]
    pub async fn price(#[state] executions: &Arc<Executions>) -> u64 {
        executions.execute().await
    }

    pub async fn buy(#[state] executions: &Arc<Executions>) -> u64 {
        executions.execute().await
    }
}

/// Calls an operation whose connection is cut while the function waits. Returns the result and the number of executions.
async fn lose(is_marked: bool) -> (tcs::Result<u64>, u64) {
    let executions = Arc::new(Executions::default());
    let (listener, connector) = memory();
    let server = ConcurrentServer::new(shop::Protocol::new(Arc::clone(&executions)));
    let server = tokio::spawn(server.listener(listener).listen());
    // Each connection goes through a task.
    let relays = Arc::new(Mutex::new(JoinSet::new()));
    let cut = Arc::clone(&relays);
    let options: ChannelOptions<LengthPrefixed> = ChannelOptions::over(move || {
        let (connector, relays) = (connector.clone(), Arc::clone(&relays));
        async move {
            let (near, mut far) = duplex(1 << 10);
            let mut server = connector.connect().await?;
            let relay = async move { copy_bidirectional(&mut far, &mut server).await.map(drop) };
            relays.lock().expect("no panic").spawn(relay);
            Ok(near)
        }
    });
    let client = shop::Client::over(options.connect_lazily().expect("good options"));
    let calling = tokio::spawn(async move {
        if is_marked {
            client.price().await
        } else {
            client.buy().await
        }
    });
    within(executions.began.notified()).await;
    cut.lock().expect("no panic").abort_all();
    let result = within(calling).await.expect("no panic");
    server.abort();
    (result, executions.count.load(Relaxed))
}

#[tokio::test]
async fn only_an_operation_that_is_marked_is_sent_again_after_its_connection_was_lost() {
    let (result, executions) = lose(true).await;
    assert_eq!((result.expect("a reply"), executions), (2, 2));
    let (result, executions) = lose(false).await;
    let error = result.expect_err("it is lost");
    assert_eq!((error.execution(), executions), (Execution::Unknown, 1));
}

//! What clients of operations can be called over, and what their methods take.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tcs::{ConcurrentServer, ErrorKind, client::blocking, format::Json, server_protocol};
use tcs_tests::{Running, start, within};

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

const LIMIT: Duration = Duration::from_secs(20);

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
            assert_eq!(thread.join().expect("no panic")?, "bob: b");
        }
        assert_eq!(client.deadline(LIMIT).count()?, 3);
        client.first_word("a b", str::len)
    });
    let length = within(calls).await.expect("no panic");
    assert_eq!(length.expect("the replies"), 1);
    server.stopped().await;
}

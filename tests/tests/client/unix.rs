//! Clients over Unix sockets.

#[cfg(target_os = "linux")]
use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

#[cfg(target_os = "linux")]
use socket2::{Domain, SockAddr, Socket, Type};
use tcs::{
    Channel, ConcurrentServer, Connection, ErrorKind, Execution, server_protocol,
    transport::UnixSocketListener,
};
#[cfg(target_os = "linux")]
use tcs::{client::ConnectOptions, framing::LengthPrefixed};
#[cfg(target_os = "linux")]
use tcs_tests::LONG;
use tcs_tests::{RawPeer, channel::Owned, client::Prefixed, scratch_path, within};
use tokio::net::UnixListener;
#[cfg(target_os = "linux")]
use tokio::net::UnixStream;

#[tokio::test]
async fn address_of_a_unix_socket_is_connected_to() {
    let path = scratch_path("sock");
    let listener = UnixListener::bind(&path).expect("a free path");
    let address = format!("unix:{}", path.display());
    let mut connection = within(Connection::connect(&address))
        .await
        .expect("it listens");
    let (stream, _) = within(listener.accept()).await.expect("it is there");
    let mut server = RawPeer::over(stream);
    let (reply, request) = tokio::join!(
        within(connection.call::<Prefixed>("Ann")),
        within(server.ask_back())
    );
    assert_eq!(reply.expect("a reply"), "Ann");
    assert_eq!(request, "Ann");
    assert_eq!(connection.peer().addr(), None);
    assert_eq!(connection.peer().to_string(), address);

    let channel = within(Channel::connect(&address))
        .await
        .expect("it listens");
    let (stream, _) = within(listener.accept()).await.expect("it is there");
    let mut server = RawPeer::over(stream);
    let call = within(channel.call::<Owned>("Bob"));
    let (reply, _) = tokio::join!(call, within(server.ask_back()));
    assert_eq!(reply.expect("a reply"), "Bob");
    std::fs::remove_file(path).expect("it is there");
}

#[server_protocol]
fn echo(text: &str) -> &str {
    text
}

#[tokio::test]
async fn channel_over_a_unix_socket_connects_again_to_a_server_that_was_restarted() {
    let path = scratch_path("sock");
    let start = async || {
        let socket = UnixSocketListener::bind(&path, 0o600).expect("a free path");
        let bound = ConcurrentServer::new(Echo).listener(socket).bind().await;
        let bound = bound.expect("good settings");
        (bound.handle(), tokio::spawn(bound.listen()))
    };
    let (handle, serving) = start().await;
    let channel: Channel = within(Channel::connect(format!("unix:{}", path.display())))
        .await
        .expect("it listens");
    let reply = within(channel.call_with::<Echo, _>("one", str::to_owned)).await;
    assert_eq!(reply.expect("a reply"), "one");
    handle.stop();
    within(serving).await.expect("no panic").expect("it served");

    let (handle, serving) = start().await;
    let reply = within(channel.call_with::<Echo, _>("two", str::to_owned)).await;
    assert_eq!(reply.expect("a reply"), "two");
    assert_eq!(channel.state().connects, 2);
    handle.stop();
    let report = within(serving).await.expect("no panic").expect("it served");
    assert_eq!(report.requests.served, 1);
}

/// On Linux, connect(2) of a socket that does not block fails when the backlog is full.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn connect_waits_for_room_in_the_backlog() {
    let path = scratch_path("sock");
    let busy = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
    let addr = SockAddr::unix(&path).expect("a short path");
    busy.bind(&addr).expect("a free path");
    busy.listen(1).expect("it is bound");
    busy.set_nonblocking(true).expect("a socket");
    let mut waiting = Vec::new();
    while let Ok(peer) = within(UnixStream::connect(&path)).await {
        waiting.push(peer);
    }
    let address = format!("unix:{}", path.display());
    let hasty = ConnectOptions::new().connect_timeout(Duration::from_millis(1));
    let connected = within(hasty.connect::<LengthPrefixed>(&address)).await;
    let error = connected.expect_err("there is no room");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let patient = ConnectOptions::new().connect_timeout(LONG);
    let mut connecting = pin!(patient.connect::<LengthPrefixed>(&address));
    // The first poll finds the backlog full.
    let early = poll_fn(|cx| Poll::Ready(connecting.as_mut().poll(cx))).await;
    assert!(early.is_pending(), "{early:?}");
    let listener = UnixListener::from_std(busy.into()).expect("it listens");
    for _ in waiting {
        within(listener.accept()).await.expect("a peer waits");
    }
    within(connecting).await.expect("there is room");
    std::fs::remove_file(path).expect("it is there");
}

#[tokio::test]
async fn path_without_a_server_is_an_error_that_names_it() {
    let path = scratch_path("sock");
    let connected = Connection::<tcs::framing::Lines>::connect(format!("unix:{}", path.display()));
    let error = within(connected).await.expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert_eq!(error.execution(), Execution::NotSent);
    let text = error.to_string();
    assert!(text.contains(&path.display().to_string()), "{text}");

    let connected = Connection::<tcs::framing::Lines>::connect("unix:");
    let error = within(connected).await.expect_err("there is no path");
    assert!(error.to_string().contains("there is no path"), "{error}");
}

/// Also if it is no text.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn path_of_a_unix_socket_is_connected_to() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

    let mut path = scratch_path("sock").into_os_string();
    path.push(OsStr::from_bytes(b"\xff"));
    let listener = UnixListener::bind(&path).expect("a free path");
    let connected = within(Connection::<LengthPrefixed>::connect(std::path::Path::new(
        &path,
    )))
    .await;
    connected.expect("it listens");
    within(listener.accept()).await.expect("it is there");
    std::fs::remove_file(path).expect("it is there");
}

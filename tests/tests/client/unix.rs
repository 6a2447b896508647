//! Clients over Unix sockets.

use tcs::{Channel, Connection, ErrorKind, Execution};
use tcs_tests::{RawPeer, channel::Owned, client::Prefixed, scratch_path, within};
use tokio::net::UnixListener;

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

//! axum: the body of a POST comes back.

use std::io;

use axum::{Router, body::Bytes, routing::post, serve::ListenerExt as _};
use tokio::net::TcpListener;

/// Serves until the listener fails.
pub async fn serve(listener: TcpListener) -> io::Result<()> {
    let router = Router::new().route("/", post(async |body: Bytes| body));
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, router).await
}

//! One end of a connection in the matrix.

use std::marker::PhantomData;

use tcs::framing::Side;
use tcs_tests::{Io, Link};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::table::{Row, decode, ends_with_eof, has_many};

/// A client without any of the library's code.
pub(crate) struct RawClient<R> {
    /// Nothing once the peer has closed.
    pub(crate) link: Option<Link>,
    /// What was received.
    pub(crate) heard: Vec<u8>,
    /// Whether the server has closed.
    pub(crate) is_over: bool,
    row: PhantomData<fn() -> R>,
}

impl<R: Row> RawClient<R> {
    pub(crate) fn new(link: Link) -> Self {
        Self {
            link: Some(link),
            heard: Vec::new(),
            is_over: false,
            row: PhantomData,
        }
    }

    fn io(&mut self) -> &mut dyn Io {
        self.link.as_mut().expect("it is open").io()
    }

    /// Sends as far as the server takes it.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let io = self.io();
        if io.write_all(bytes).await.is_ok() {
            io.flush().await.ok();
        }
    }

    pub(crate) async fn finish(&mut self) {
        self.io().shutdown().await.ok();
    }

    /// Sends requests, and what ends them.
    pub(crate) async fn ask(&mut self, bytes: &[u8]) {
        self.send(bytes).await;
        if ends_with_eof::<R>() {
            self.finish().await;
        }
    }

    /// Receives what comes next, up to this many bytes.
    pub(crate) async fn hear_some(&mut self, limit: usize) {
        let mut bytes = vec![0; limit];
        match self.io().read(&mut bytes).await {
            Ok(count) if count > 0 => self.heard.extend_from_slice(&bytes[..count]),
            _ => self.is_over = true,
        }
    }

    /// Receives until there are this many messages, or the end.
    pub(crate) async fn hear(&mut self, count: usize, piece: usize) {
        // The end of some messages is that of the connection.
        let is_missing = |peer: &Self| {
            (count > 0 && !has_many::<R>())
                || peer.heard.len() < 4 * count
                || (R::ATTRIBUTES.is_exact && peer.messages().len() < count)
        };
        while !self.is_over && is_missing(self) {
            self.hear_some(piece).await;
        }
    }

    pub(crate) async fn hear_rest(&mut self) {
        while !self.is_over {
            self.hear_some(1 << 16).await;
        }
    }

    pub(crate) fn messages(&self) -> Vec<(u8, u8)> {
        decode::<R>(Side::Client, &self.heard, self.is_over)
    }
}

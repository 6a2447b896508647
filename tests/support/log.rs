//! What is logged.

use std::{
    fmt::{self, Write as _},
    sync::{Arc, LazyLock, Mutex},
};

use tokio::task::yield_now;
use tracing::{
    Dispatch, Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::DefaultGuard,
};

use crate::within;

/// Keeps each event with its level, and each new span, as `field=value` texts, joined by spaces.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Begins to keep what is logged on this thread, until the guard is dropped.
    pub fn start() -> (Self, DefaultGuard) {
        // With a single one in the process, `tracing` would ask the thread that comes first to an event whether
        // anyone wants it, and other tests have threads that do not.
        static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Log::default()));
        LazyLock::force(&ANOTHER);
        let log = Self::default();
        let guard = tracing::subscriber::set_default(log.clone());
        (log, guard)
    }

    /// Waits until `text` occurs in this number of events.
    pub async fn until(&self, count: usize, text: &str) {
        within(async {
            while self.with(text).len() < count {
                yield_now().await;
            }
        })
        .await;
    }

    /// Returns the events in which `text` occurs.
    pub fn with(&self, text: &str) -> Vec<String> {
        let events = self.0.lock().expect("nobody panics");
        events
            .iter()
            .filter(|event| event.contains(text))
            .cloned()
            .collect()
    }
}

struct Fields(String);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, "{field}={value:?} ").expect("a `String` takes all");
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("tcs")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields(format!("span={} ", span.metadata().name()));
        span.record(&mut fields);
        self.0.lock().expect("nobody panics").push(fields.0);
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(format!("level={} ", event.metadata().level()));
        event.record(&mut fields);
        self.0.lock().expect("nobody panics").push(fields.0);
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

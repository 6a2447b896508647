//! What is logged.

use std::{
    fmt::{self, Write as _},
    sync::{Arc, LazyLock, Mutex, MutexGuard},
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
pub struct Log(Arc<Mutex<Logged>>);

#[derive(Debug, Default)]
struct Logged {
    /// Each with the spans that it is in.
    events: Vec<(String, String)>,
    spans: Vec<String>,
    /// The spans that the thread is in.
    entered: Vec<Id>,
}

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
        let found = self.with_spans(text).into_iter();
        found.map(|(event, _)| event).collect()
    }

    /// Returns the events in which `text` occurs, each with the spans that it is in.
    pub fn with_spans(&self, text: &str) -> Vec<(String, String)> {
        let logged = self.logged();
        let found = logged.events.iter();
        found
            .filter(|(event, _)| event.contains(text))
            .cloned()
            .collect()
    }

    fn logged(&self) -> MutexGuard<'_, Logged> {
        self.0.lock().expect("nobody panics")
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
        let mut logged = self.logged();
        logged.events.push((fields.0.clone(), String::new()));
        logged.spans.push(fields.0);
        Id::from_u64(logged.spans.len() as u64)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(format!("level={} ", event.metadata().level()));
        event.record(&mut fields);
        let mut logged = self.logged();
        let entered = logged.entered.iter();
        let spans = entered.map(|id| {
            let number = usize::try_from(id.into_u64()).expect("few");
            &*logged.spans[number - 1]
        });
        let spans = spans.collect();
        logged.events.push((fields.0, spans));
    }

    fn enter(&self, span: &Id) {
        self.logged().entered.push(span.clone());
    }

    fn exit(&self, span: &Id) {
        let entered = &mut self.logged().entered;
        if let Some(last) = entered.iter().rposition(|it| it == span) {
            entered.remove(last);
        }
    }
}

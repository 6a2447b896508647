//! Checks that a test leaves nothing over.

use std::{fmt, time::Duration};

use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};

/// The time in which everything that ends by itself must end, such as the task of a connection that was dropped.
const LIMIT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(1);

/// Fails a test that leaves something behind: a task of its runtime, a file descriptor, or anything that you count
/// yourself.
///
/// # Examples
///
/// ```
/// use tcs::{server_protocol, testing::{LeakCheck, serve}};
///
/// #[server_protocol]
/// fn greet(name: &str) -> String {
///     format!("Hello, {name}!")
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// let leaks = LeakCheck::new();
/// let mut server = serve(Greet).await;
/// server.call("Ann").await?;
/// server.finish().await;
/// leaks.assert_none().await;
/// # Ok(())
/// # }
/// ```
#[must_use = "it compares when `assert_none` is called"]
pub struct LeakCheck {
    counts: Vec<Count>,
}

/// A kind of things that are counted, with their number at the beginning.
struct Count {
    name: &'static str,
    now: Box<dyn Fn() -> usize + Send>,
    before: usize,
}

impl LeakCheck {
    /// Counts the tasks of this runtime.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub fn new() -> Self {
        let metrics = Handle::current().metrics();
        Self { counts: Vec::new() }.count("tasks", move || metrics.num_alive_tasks())
    }

    /// Counts the file descriptors of the process as well: sockets, files and pipes.
    ///
    /// Other tests in the same process open and close theirs, so such a test needs a process of its own: a file in
    /// `tests/` with one test. This method counts on Linux only.
    ///
    /// # Panics
    ///
    /// Panics on Linux without `/proc`.
    pub fn descriptors(self) -> Self {
        if cfg!(target_os = "linux") {
            self.count("file descriptors", count_descriptors)
        } else {
            self
        }
    }

    /// Counts something of yours as well, such as open sessions or buffers in use.
    pub fn count(mut self, name: &'static str, count: impl Fn() -> usize + Send + 'static) -> Self {
        self.counts.push(Count {
            name,
            before: count(),
            now: Box::new(count),
        });
        self
    }

    /// Waits until every count is back to its value at the beginning.
    ///
    /// # Panics
    ///
    /// Panics if a count is still higher after 10 s, with its name.
    pub async fn assert_none(self) {
        let begun = Instant::now();
        loop {
            let left: Vec<_> = self.counts.iter().filter_map(Count::left).collect();
            if left.is_empty() {
                return;
            }
            assert!(begun.elapsed() < LIMIT, "left over: {}", left.join(", "));
            sleep(PAUSE).await;
        }
    }
}

impl Default for LeakCheck {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for LeakCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts.iter().map(|count| (count.name, count.before));
        f.debug_map().entries(counts).finish()
    }
}

impl Count {
    fn left(&self) -> Option<String> {
        let (name, before, now) = (self.name, self.before, (self.now)());
        (now > before).then(|| format!("{} {name} ({now} instead of {before})", now - before))
    }
}

fn count_descriptors() -> usize {
    // The file descriptor of the folder is open as well, each time.
    let open = std::fs::read_dir("/proc/self/fd");
    open.expect("`/proc` is mounted").count()
}

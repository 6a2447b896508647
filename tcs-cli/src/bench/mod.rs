//! `tcs bench`: how fast a server is.
//!
//! `run.rs` has the connections and their clock, `connection.rs` what each of them does, `schedule.rs` when requests are
//! due, `tally.rs` what is counted, and `request_error.rs` why requests are not answered. `report.rs` is the result, and
//! `table.rs` and `plot.rs` show it.

mod connection;
mod in_flight;
mod mix;
mod plot;
mod progress;
mod report;
mod request_error;
mod run;
mod schedule;
mod table;
mod tally;
mod units;

use std::{
    fs,
    path::Path,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use clap::{ArgMatches, FromArgMatches};
use tokio::{signal, task::JoinSet, time};

use self::{
    progress::{Progress, sample_length},
    report::Report,
    request_error::RequestError,
    run::{Plan, Run},
    schedule::Load,
};
use crate::{
    escape::unescaped,
    failure::{Exit, Failure},
    options::{EXIT_CODES, HelpFlags},
    output::print,
    payload::MessageOptions,
    target::Target,
};

/// What `--help-all` says after them.
const EXAMPLES: &str = "\
Examples:
  tcs bench localhost:1234 --duration 10s hello
  tcs bench localhost:1234 --framing lines --connections 50 --pipeline 16 PING
  tcs bench localhost:1234 --rate 5000 --json > a.json
  tcs bench compare a.json b.json";

/// What the command line asks for.
// By hand, because a derived subcommand would make the address optional.
#[derive(Debug)]
pub(crate) enum Args {
    Measure(Box<Measure>),
    Compare(Compare),
}

/// Print two results of --json side by side
#[derive(Debug, clap::Args)]
pub(crate) struct Compare {
    #[arg(value_name = "A.json")]
    a: String,
    #[arg(value_name = "B.json")]
    b: String,
    #[command(flatten)]
    help: HelpFlags,
}

impl clap::Args for Args {
    fn augment_args(command: clap::Command) -> clap::Command {
        let compare = Compare::augment_args(clap::Command::new("compare")).hide(true);
        Measure::augment_args(command)
            .subcommand(compare)
            .args_conflicts_with_subcommands(true)
            .subcommand_negates_reqs(true)
            .disable_help_subcommand(true)
            .override_usage("tcs bench [OPTIONS] <HOST:PORT> [TEXT]\n       tcs bench compare <A.json> <B.json>")
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Args {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        match matches.subcommand() {
            Some((_, compared)) => Compare::from_arg_matches(compared).map(Self::Compare),
            None => {
                Measure::from_arg_matches(matches).map(|measure| Self::Measure(Box::new(measure)))
            }
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Measure how fast a server is
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES, after_long_help = format!("{EXIT_CODES}\n\n{EXAMPLES}"), disable_help_flag = true)]
pub(crate) struct Measure {
    #[command(flatten)]
    target: Target,
    /// The request [default: hello]
    #[arg(conflicts_with = "mix", help_heading = None::<&str>)]
    text: Option<String>,
    #[command(flatten)]
    load: Load,
    /// Requests from a file, with weights: `9 get key`
    ///
    /// Each line is a weight, a space and a request. Lines that begin with # are skipped.
    #[arg(short, long, value_name = "FILE", help_heading = "Load")]
    mix: Option<String>,
    /// Count replies that do not begin with this as errors
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true, help_heading = "Messages",
        value_parser = |text: &str| unescaped(text).map(Arc::<[u8]>::from))]
    expect: Arc<[u8]>,
    #[command(flatten)]
    messages: MessageOptions,
    #[command(flatten)]
    result: ResultOptions,
    #[command(flatten)]
    help: HelpFlags,
}

/// What becomes of the result.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Result")]
struct ResultOptions {
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Draw latency by percentile, and the rate over time
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<String>,
    /// Compare with an earlier result of --json
    #[arg(
        long,
        value_name = "FILE.json",
        conflicts_with = "json",
        hide_short_help = true
    )]
    compare: Option<String>,
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    match args {
        Args::Measure(measure) => measure.run().await,
        Args::Compare(Compare { a, b, .. }) => compare(&a, &b),
    }
}

fn compare(a: &str, b: &str) -> Result<(), Failure> {
    let text = table::compare(&Report::read(a)?, &Report::read(b)?);
    print(&[text.as_bytes()])
}

impl Measure {
    async fn run(self) -> Result<(), Failure> {
        // What cannot be read or written is said before the run, not after it.
        let before = self
            .result
            .compare
            .as_deref()
            .map(Report::read)
            .transpose()?;
        if let Some(path) = &self.result.plot {
            let folder = Path::new(path)
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            if folder.is_some_and(|folder| !folder.is_dir()) {
                return Err(
                    Failure::usage(format_args!("there is no folder for {path}"))
                        .hint("name a file in a folder that exists"),
                );
            }
        }
        let (report, main_error) = measure(self.plan()?).await?;
        let plotted = match &self.result.plot {
            Some(path) => plot::write(path, &report),
            None => Ok(()),
        };
        let text = match (&before, self.result.json) {
            (Some(before), _) => table::compare(before, &report),
            (None, true) => report.to_json() + "\n",
            (None, false) => table::report(&report),
        };
        print(&[text.as_bytes()])?;
        // That nothing was answered is worse than that there is no picture of it.
        verdict(&report, main_error)?;
        plotted
    }

    fn plan(&self) -> Result<Plan, Failure> {
        let (requests, order) = self.requests()?;
        let mut load = self.load;
        if let Some(requests) = load.requests {
            // A connection without a request would only be opened.
            let requests = usize::try_from(requests).unwrap_or(usize::MAX);
            load.connections = load.connections.min(requests);
        } else {
            load.duration = load.duration.or(Some(DEFAULT_DURATION));
        }
        Ok(Plan {
            target: self.target.prepare()?,
            framing: self.messages.framing.clone(),
            requests,
            order,
            load,
            expected: Arc::clone(&self.expect),
        })
    }

    /// Returns the requests, and the order in which they take turns.
    fn requests(&self) -> Result<(Vec<Vec<u8>>, Vec<usize>), Failure> {
        let Some(path) = &self.mix else {
            let request = match &self.text {
                Some(text) => self.messages.view.encode(text)?,
                None => self.messages.view.hello()?,
            };
            return Ok((vec![request], vec![0]));
        };
        let wrong = |reason: String| Failure::usage(format_args!("the mix {path}: {reason}"));
        let text =
            fs::read_to_string(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
        let (requests, order) = mix::parse(&text).map_err(wrong)?;
        let encoded = requests.iter().map(|text| self.messages.view.encode(text));
        Ok((encoded.collect::<Result<_, _>>()?, order))
    }
}

const DEFAULT_DURATION: Duration = Duration::from_secs(10);
/// How long replies may take after Ctrl-C.
const GRACE: Duration = Duration::from_secs(1);

/// Does the run, and returns its result, and what most requests without a reply have met.
async fn measure(plan: Plan) -> Result<(Report, Option<RequestError>), Failure> {
    let load = plan.load;
    let run = Run::new(plan);
    // Only from its first poll on, a signal does not end the process.
    let mut interrupt = pin!(signal::ctrl_c());
    let mut tasks = tokio::select! {
        biased;
        _ = &mut interrupt => return Err(interrupted_early()),
        started = run.start() => started?,
    };
    let mut progress = Progress::new(load);
    let stopped = watch(&run, &mut tasks, &mut progress, interrupt).await?;
    let now = run.elapsed();
    progress.add(now, &run.tallies.take());
    let (total, samples) = progress.finish();
    let is_short = load
        .requests
        .is_some_and(|requests| total.replies + total.errors() >= requests);
    // The time in which requests were sent and replies came. The wait for a reply that was lost is not a part of it.
    let sending = stopped.or(load.end().filter(|_| !is_short));
    let end = sending.max(total.last_reply).unwrap_or(now);
    let elapsed = end.saturating_sub(load.warm_up());
    let report = Report::new(&run.plan, elapsed, stopped.is_some(), &total, samples);
    Ok((report, total.main_error()))
}

fn interrupted_early() -> Failure {
    Failure::new(
        Exit::Connect,
        "it was ended before all connections were open",
    )
}

/// Shows the run until it ends, and returns when Ctrl-C has ended it, if it has.
async fn watch(
    run: &Arc<Run>,
    tasks: &mut JoinSet<Result<(), Failure>>,
    progress: &mut Progress,
    mut interrupt: Pin<&mut impl Future>,
) -> Result<Option<Duration>, Failure> {
    let length = sample_length(&run.plan.load);
    let mut samples = time::interval_at(time::Instant::now() + length, length);
    let mut stopped = None;
    let mut grace = pin!(time::sleep(GRACE));
    let mut again = pin!(signal::ctrl_c());
    loop {
        tokio::select! {
            biased;
            _ = &mut interrupt, if stopped.is_none() => {
                run.stop();
                stopped = Some(run.elapsed());
                grace.as_mut().reset(time::Instant::now() + GRACE);
            }
            _ = &mut again, if stopped.is_some() => return Ok(stopped),
            () = &mut grace, if stopped.is_some() => return Ok(stopped),
            ended = tasks.join_next() => match ended {
                None => return Ok(stopped),
                Some(ended) => ended.unwrap_or_else(|error| Err(run::panicked(&error)))?,
            },
            _ = samples.tick() => progress.add(run.elapsed(), &run.tallies.take()),
        }
    }
}

/// Returns an error if not all requests were answered, or the run was ended.
fn verdict(report: &Report, main_error: Option<RequestError>) -> Result<(), Failure> {
    if report.interrupted {
        return Err(Failure::new(
            Exit::Interrupted,
            "Ctrl-C has ended the run before its end",
        ));
    }
    let Some(error) = main_error else {
        return Ok(());
    };
    let failed: u64 = report.errors.values().sum();
    let message = format!("{failed} of {} requests were not answered", report.requests);
    Err(Failure::new(error.exit(), message).hint(error.advice()))
}

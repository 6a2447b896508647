//! Child processes: the examples, Python scripts, `nc`.
//!
//! Each wait has a deadline, and a child that is still there when its handle goes is killed.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{self, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::{TcpStream, ToSocketAddrs},
    process::{Child, ChildStdout, Command},
    task::JoinHandle,
    time,
};

use crate::{LIMIT, within};

/// How long the tests with the fixed port may take together; each wait of theirs has its own limit.
const PORT_LIMIT: Duration = Duration::from_mins(10);

/// A program that runs.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: JoinHandle<String>,
}

/// What a program left behind.
#[derive(Debug)]
#[non_exhaustive]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// The lines on its standard output that were not taken before.
    pub stdout: Vec<String>,
    /// Its standard error.
    pub stderr: String,
}

impl Process {
    /// Starts `program`, which finds its standard input empty.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn start<S: AsRef<OsStr>>(
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = S>,
    ) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        Self::run(&mut command)
    }

    /// Starts a command, whose standard input is as the caller has set it.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn run(command: &mut Command) -> Self {
        let name = command.as_std().get_program();
        let name = name.to_string_lossy().into_owned();
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let stdout = child.stdout.take().expect("it is piped");
        let mut stderr = child.stderr.take().expect("it is piped");
        Self {
            name,
            child,
            stdout: BufReader::new(stdout).lines(),
            stderr: tokio::spawn(async move {
                let mut bytes = Vec::new();
                stderr
                    .read_to_end(&mut bytes)
                    .await
                    .expect("a pipe can be read");
                String::from_utf8_lossy(&bytes).into_owned()
            }),
        }
    }

    /// Starts an example that cargo has built beside the running test.
    ///
    /// # Panics
    ///
    /// When it is not built, or was built from other sources than there are now.
    pub fn example(name: &str) -> Self {
        Self::start(example_path(name), [""; 0])
    }

    /// Starts a script of the folder `python`.
    pub fn python<S: AsRef<OsStr>>(script: &str, arguments: impl IntoIterator<Item = S>) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("python")
            .join(script);
        let arguments = arguments
            .into_iter()
            .map(|argument| argument.as_ref().to_owned());
        // `-u`: what is printed is seen at once.
        Self::start(
            "python3",
            ["-u".into(), path.into_os_string()]
                .into_iter()
                .chain(arguments),
        )
    }

    /// Waits for the next line on its standard output.
    ///
    /// # Panics
    ///
    /// When it ends, or the deadline comes, before there is one.
    #[track_caller]
    pub fn line(&mut self) -> impl Future<Output = String> {
        within(async {
            match self.stdout.next_line().await {
                Ok(Some(line)) => line,
                Ok(None) => {
                    let stderr = (&mut self.stderr).await;
                    panic!("{} ended without a line: {stderr:?}", self.name)
                }
                Err(error) => panic!("cannot read from {}: {error}", self.name),
            }
        })
    }

    /// Sends what Ctrl-C sends.
    pub async fn interrupt(&self) {
        self.signal("INT").await;
    }

    /// Sends the signal of this name, without `SIG`.
    ///
    /// # Panics
    ///
    /// When it has ended already.
    pub async fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs");
        // The shell's own `kill`: safe, and wherever there is a shell.
        let status = Command::new("sh")
            .args(["-c", "kill -s \"$1\" \"$2\"", "sh", name, &id.to_string()])
            .status();
        let status = within(status).await.expect("there is a shell");
        assert!(status.success(), "cannot send {name} to {}", self.name);
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    ///
    /// When the deadline comes before that.
    #[track_caller]
    pub fn finished(self) -> impl Future<Output = Finished> {
        let Self {
            name,
            mut child,
            stdout: mut lines,
            stderr,
        } = self;
        within(async move {
            let mut stdout = Vec::new();
            while let Some(line) = lines.next_line().await.expect("a pipe can be read") {
                stdout.push(line);
            }
            let status = child.wait().await;
            Finished {
                status: status.unwrap_or_else(|error| panic!("cannot wait for {name}: {error}")),
                stdout,
                stderr: stderr.await.expect("reading does not panic"),
            }
        })
    }
}

impl Finished {
    /// Returns the lines on its standard output.
    ///
    /// # Panics
    ///
    /// When it did not end with exit code 0, or complained. A server on its own says where it listens.
    #[track_caller]
    pub fn succeeded(self) -> Vec<String> {
        let mut said = self.stderr.lines();
        assert!(
            self.status.success() && said.all(|line| line.starts_with("listening on ")),
            "it should succeed: {self:?}"
        );
        self.stdout
    }
}

/// Returns `true` if `program` is not installed; the test that needs it then returns.
///
/// One line says which test is skipped and why.
///
/// # Panics
///
/// When `CI` is `true`: where everything should be tested, nothing is skipped but what `TCS_UNAVAILABLE` names, with
/// spaces between the names. `.ci/run` sets it to what could not be installed.
pub fn is_missing(program: &str) -> bool {
    let status = process::Command::new(program)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let is_missing = matches!(status, Err(error) if error.kind() == io::ErrorKind::NotFound);
    is_missing && skip(program, program)
}

/// Returns `true` if Python or a package of it is not installed, which [`is_missing`] tells of programs.
///
/// # Panics
///
/// When `CI` is `true`, as [`is_missing`].
pub fn is_package_missing(package: &str) -> bool {
    if is_missing("python3") {
        return true;
    }
    let imported = process::Command::new("python3")
        .args(["-c", &format!("import {package}")])
        .stderr(Stdio::null())
        .status();
    let is_there = imported.is_ok_and(|status| status.success());
    !is_there && skip(package, &format!("python3 -c 'import {package}'"))
}

/// Says that a test is skipped for want of something, and returns `true`.
fn skip(name: &str, missing: &str) -> bool {
    let thread = thread::current();
    let test = thread.name().unwrap_or("a test");
    let reason = format!("{test} needs `{missing}`, which is not installed");
    let unavailable = env::var("TCS_UNAVAILABLE").unwrap_or_default();
    let is_excused = unavailable.split(' ').any(|it| it == name);
    let must_have_all = env::var_os("CI").is_some_and(|ci| ci == "true");
    assert!(is_excused || !must_have_all, "{reason}");
    // Not with `eprintln!`, because the harness hides what a test that passes prints.
    io::stderr()
        .write_all(format!("skipped: {reason}\n").as_bytes())
        .expect("standard error is open");
    true
}

/// Waits until somebody listens at `address`, and connects.
///
/// It is for programs that do not say when they listen; nothing but trying can tell.
///
/// # Panics
///
/// When nobody does before the deadline.
#[track_caller]
pub fn connect(address: impl ToSocketAddrs + Copy) -> impl Future<Output = TcpStream> {
    within(async move {
        let mut tries = time::interval(Duration::from_millis(10));
        loop {
            tries.tick().await;
            if let Ok(stream) = TcpStream::connect(address).await {
                return stream;
            }
        }
    })
}

/// Sends `request`, closes the sending half, and returns all that comes back.
///
/// # Panics
///
/// When that fails, or is not over before the deadline.
#[track_caller]
pub fn ask(mut stream: TcpStream, request: &str) -> impl Future<Output = String> {
    within(async move {
        let mut reply = String::new();
        let exchange = async {
            stream.write_all(request.as_bytes()).await?;
            stream.shutdown().await?;
            stream.read_to_string(&mut reply).await
        };
        match exchange.await {
            Ok(_) => reply,
            Err(error) => panic!("cannot ask {request:?}: {error}"),
        }
    })
}

/// Takes the one port that is fixed, 1234, until the result is dropped.
///
/// The lock is the machine's, because the port is; another checkout may be tested at the same time.
///
/// # Panics
///
/// When the lock cannot be taken, or a program that takes no part in this has the port.
pub async fn port_1234() -> File {
    let path = env::temp_dir().join("tcs-tests-port-1234.lock");
    let lock = File::open(&path)
        .or_else(|_| File::create(&path))
        .expect("there is a folder for temporary files");
    let mut tries = time::interval(Duration::from_millis(10));
    let locked = async {
        while lock.try_lock().is_err() {
            tries.tick().await;
        }
    };
    time::timeout(PORT_LIMIT, locked)
        .await
        .unwrap_or_else(|_| panic!("somebody keeps the lock {}", path.display()));
    // The program of the last test may have been killed, and have the port for a moment longer.
    let free = async {
        while TcpStream::connect(("127.0.0.1", 1234)).await.is_ok() {
            tries.tick().await;
        }
    };
    time::timeout(LIMIT, free)
        .await
        .expect("another program listens on port 1234, which the README's programs need: end it");
    lock
}

/// Returns the program of an example.
///
/// # Panics
///
/// When it is not built, or was built from other sources than there are now.
pub fn example_path(name: &str) -> PathBuf {
    let path = built_examples().join(name);
    if let Err(reason) = is_up_to_date(&path) {
        panic!("{reason}: run `cargo test --workspace` or `cargo build --examples`");
    }
    path
}

/// The folder where cargo puts the examples of the build that the running test is part of.
fn built_examples() -> PathBuf {
    let test = env::current_exe().expect("a test knows where it is");
    test.ancestors()
        .nth(2)
        .expect("a test is in `deps`")
        .join("examples")
}

/// Compares a program with the sources that cargo's notes beside it name.
///
/// Testing one package alone does not build the examples of another, and one that was built earlier
/// proves nothing.
fn is_up_to_date(program: &Path) -> Result<(), String> {
    let changed = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    let shown = program.display();
    let missing = |error: io::Error| format!("{shown} is not built ({error})");
    let built = changed(program).map_err(missing)?;
    let notes = fs::read_to_string(program.with_extension("d")).map_err(missing)?;
    let sources = notes
        .split_once(": ")
        .map_or("", |(_, sources)| sources.trim());
    // In these notes a blank that is part of a name has a backslash before it.
    for source in sources.replace("\\ ", "\0").split(' ') {
        let source = source.replace('\0', " ");
        match changed(Path::new(&source)) {
            Ok(changed) if changed <= built => {}
            _ => return Err(format!("{shown} is older than {source}")),
        }
    }
    Ok(())
}

//! The `vod-mock` command line.
//!
//! The first line on stdout is JSON and says where it listens; everything for people goes to stderr.

mod admin;

use std::{
    ffi::OsString,
    io::{self, IsTerminal as _, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::{Parser, ValueEnum};
use vod_proto::{Limits, Size, lint::Findings, rules::Profile};
use vod_serve::{
    Journal, KillTarget, Plan, Port,
    clock::fresh_seed,
    journal::JournalError,
    program::{
        PlanFileError, ReadyFile, ReadyFileError, StdioKiller, TlsArgs, TlsArgsError, announce, asked_to_stop,
        raise_open_files, read_plan, serve_until, shortened,
    },
};

use self::admin::AdminArgs;
use crate::{
    Accounts, AdminPlace, Auth, BadToken, CallbackPolicy, Config, DigestStore, DiskStore, MemoryStore, Mock, OpenError,
    Store, exit, store::DiskError,
};

/// A mock server of the VOD multipart upload protocol.
#[derive(Parser)]
#[command(name = "vod-mock", version)]
struct Args {
    /// Where to listen; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8266")]
    listen: SocketAddr,
    /// Keep everything in this directory, so that it survives a kill: the store is disk
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where uploads are kept: in memory (above 256 MiB in a temporary file), on disk, or as digests alone
    /// [default: disk with --data-dir, memory without]
    #[arg(long, value_enum)]
    store: Option<StoreArg>,
    /// The accounts, as TOML [default: the demo account of the documentation]
    #[arg(long, value_name = "FILE")]
    accounts: Option<PathBuf>,
    /// The faults to inject, as TOML
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// The numbers that bound an upload, as TOML
    #[arg(long, value_name = "FILE")]
    limits: Option<PathBuf>,
    /// Decides every chance of the fault plan [default: a fresh one, printed]
    #[arg(long)]
    seed: Option<u64>,
    /// How strictly clients are held to the documents: observed or documented
    #[arg(long, default_value = "observed")]
    profile: Profile,
    /// Whether signatures must hold
    #[arg(long, value_enum, default_value = "verify")]
    auth: AuthArg,
    /// Whether a file that is there is answered with code 2
    #[arg(long, value_enum, default_value = "on")]
    instant_upload: Switch,
    /// Append every exchange to this file, as lines of JSON; an existing one is taken up
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// How much memory exchanges may take, such as 512MiB; the oldest of the account that has most are dropped, and what
    /// is judged without them is inconclusive [default: 128MiB, some 130,000 exchanges]
    #[arg(long, value_name = "SIZE")]
    journal_memory: Option<Size>,
    /// When stopped, write to this file what /__vod/findings answers: the rules that clients broke, as JSON
    #[arg(long, value_name = "FILE")]
    findings: Option<PathBuf>,
    /// Another host that clients may sign for
    #[arg(long, value_name = "HOST")]
    sign_host: Vec<String>,
    /// Call the notifyUrl that clients name with an upload of the legacy family
    #[arg(long)]
    notify: bool,
    /// How long after a file was stored its first callback goes out, such as 2s [default: 100ms]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    callback_delay: Option<Duration>,
    /// How long after the first callback another says that transcoding is over [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    transcode_delay: Option<Duration>,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    tls: TlsArgs,
    /// Also write the first line of stdout to this file, once it listens; it is removed when the mock is stopped
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Ask on stdout for the kills of the fault plan, and wait for an answer on stdin
    #[arg(long, hide = true)]
    kill_host: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum AuthArg {
    Verify,
    Any,
}

#[derive(Clone, Copy, ValueEnum)]
enum StoreArg {
    Memory,
    Disk,
    Digest,
}

/// Where uploads are kept.
#[derive(Clone, Copy)]
enum Place<'a> {
    Memory,
    Disk(&'a Path),
    Digest,
}

impl<'a> Place<'a> {
    fn of(store: Option<StoreArg>, dir: Option<&'a Path>) -> Result<Self, Failure> {
        match (store, dir) {
            (None | Some(StoreArg::Disk), Some(dir)) => Ok(Self::Disk(dir)),
            (None | Some(StoreArg::Memory), None) => Ok(Self::Memory),
            (Some(StoreArg::Digest), None) => Ok(Self::Digest),
            (Some(StoreArg::Disk), None) => Err(Failure::DiskWithoutDir),
            (Some(StoreArg::Memory), Some(_)) => Err(Failure::DirWithoutDisk("memory")),
            (Some(StoreArg::Digest), Some(_)) => Err(Failure::DirWithoutDisk("digest")),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// Why the mock could not start, or go on.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path}: {source}")]
    Parse { path: PathBuf, source: Box<toml::de::Error> },
    /// Like `Parse`, but without the excerpt: the file holds secrets.
    #[error("{path}, line {line}: {message}")]
    ParseSecret { path: PathBuf, line: usize, message: String },
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("--store disk needs --data-dir, the directory to keep uploads in")]
    DiskWithoutDir,
    #[error("--store {0} keeps nothing in a directory: expected either that or --data-dir")]
    DirWithoutDisk(&'static str),
    #[error(transparent)]
    Plan(#[from] PlanFileError),
    #[error("fault {id:?} can never strike: there is no account {account:?}, and no admin API that could make it")]
    Stranger { id: String, account: String },
    #[error("the fault plan kills the mock, and without --data-dir nothing would be left of it")]
    KillsMemory,
    #[error(
        "--admin-listen {0} can be reached from elsewhere: expected a token, in --admin-token-file or VOD_ADMIN_TOKEN"
    )]
    AdminWithoutToken(SocketAddr),
    #[error("{from}: {source}")]
    AdminToken { from: String, source: BadToken },
    #[error("cannot listen on {addr}: {source}")]
    Listen { addr: SocketAddr, source: io::Error },
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("the journal's file lacks {0} exchanges that could not be written")]
    Unwritable(u64),
    #[error("cannot write the findings to {path}: {source}")]
    Findings { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Ready(#[from] ReadyFileError),
    #[error(transparent)]
    Tls(#[from] TlsArgsError),
    #[error("cannot start: {0}")]
    Runtime(#[source] io::Error),
}

impl Failure {
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Read { .. }
            | Self::Parse { .. }
            | Self::ParseSecret { .. }
            | Self::DiskWithoutDir
            | Self::DirWithoutDisk(_)
            | Self::Plan(_)
            | Self::Stranger { .. }
            | Self::KillsMemory
            | Self::AdminWithoutToken(_)
            | Self::AdminToken { .. }
            | Self::Tls(TlsArgsError::NoHome | TlsArgsError::DirWithoutTls | TlsArgsError::Forward)
            | Self::Open(_) => exit::USAGE,
            Self::Listen { .. } | Self::Runtime(_) => exit::LISTEN,
            Self::Disk(_)
            | Self::Journal(_)
            | Self::Unwritable(_)
            | Self::Findings { .. }
            | Self::Ready(_)
            | Self::Tls(TlsArgsError::Ca(_)) => exit::STORE,
        }
    }
}

/// Runs the mock until it is asked to stop. `args` begins with the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            // Help and version go to stdout with code 0, mistakes to stderr with code 2.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit::USAGE));
        }
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(io::stderr().is_terminal());
    // A log that cannot be written is not to be written about: the mock would die of a full disk.
    let _ = log.with_writer(io::stderr).log_internal_errors(false).try_init();
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::Runtime);
    match runtime.and_then(|runtime| runtime.block_on(run(args))) {
        Ok(()) => ExitCode::from(exit::STOPPED),
        Err(failure) => {
            let _ = writeln!(io::stderr(), "vod-mock: {}", shortened(failure.to_string()));
            ExitCode::from(failure.exit_code())
        }
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|source| Failure::Read { path: path.to_owned(), source })
}

fn read_accounts(path: Option<&Path>) -> Result<Accounts, Failure> {
    let Some(path) = path else { return Ok(Accounts::default()) };
    let text = read(path)?;
    toml::from_str(&text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        // A wrong type is told by the value itself, so only the kinds of mistakes that name no value are repeated.
        let named = ["unknown field", "missing field", "duplicate"].iter().any(|kind| error.message().contains(kind));
        let message = if named { error.message() } else { "expected [[account]] with name, secret-id and secret-key" };
        Failure::ParseSecret { path: path.to_owned(), line, message: message.to_owned() }
    })
}

fn read_toml<T: serde::de::DeserializeOwned + Default>(path: Option<&Path>) -> Result<T, Failure> {
    let Some(path) = path else { return Ok(T::default()) };
    let text = read(path)?;
    toml::from_str(&text).map_err(|source| Failure::Parse { path: path.to_owned(), source: Box::new(source) })
}

/// Looks for faults that wait for an account that is not there. Where nobody can make it, they could never strike.
fn check_accounts(plan: &Plan, accounts: &Accounts, admin: AdminPlace) -> Result<(), Failure> {
    for (id, account) in plan.strangers(|name| accounts.has(name)) {
        if admin == AdminPlace::Nowhere {
            return Err(Failure::Stranger { id: id.to_owned(), account: account.to_owned() });
        }
        let _ = writeln!(
            io::stderr(),
            "vod-mock: fault {id:?} strikes nobody until the admin API makes an account {account:?}: there is none"
        );
    }
    Ok(())
}

async fn listen(addr: SocketAddr) -> Result<Port, Failure> {
    Port::bind(addr).await.map_err(|source| Failure::Listen { addr, source })
}

async fn run(args: Args) -> Result<(), Failure> {
    let place = Place::of(args.store, args.data_dir.as_deref())?;
    let accounts = read_accounts(args.accounts.as_deref())?;
    let plan = read_plan(args.faults.as_deref())?;
    let limits: Limits = read_toml(args.limits.as_deref())?;
    let seed = args.seed.unwrap_or_else(fresh_seed);
    let port = listen(args.listen).await?;
    let addr = port.addr();
    let (admin, admin_port) = args.admin.open(addr.ip()).await?;
    let admin_place = admin.place;
    check_accounts(&plan, &accounts, admin_place)?;
    if plan.kills(KillTarget::Mock) && !matches!(place, Place::Disk(_)) {
        return Err(Failure::KillsMemory);
    }
    let store: Arc<dyn Store> = match place {
        Place::Memory => MemoryStore::new(),
        Place::Disk(dir) => DiskStore::open(dir)?,
        Place::Digest => DigestStore::new(),
    };
    let journal = Journal::builder(seed);
    let journal = match args.journal_memory {
        // More than there are addresses is as much as there is.
        Some(most) => journal.ceiling(usize::try_from(most.bytes()).unwrap_or(usize::MAX)),
        None => journal,
    };
    let journal = match &args.journal {
        Some(path) => journal.file(path)?,
        None => journal.memory(),
    };
    if let Some(path) = &args.findings {
        no_findings(path)?;
    }
    if let Some(path) = &args.ready_file {
        ReadyFile::clear(path)?;
    }
    let tls = args.tls.open(addr.ip(), args.data_dir.as_deref())?;
    let (tls, ca) = tls.map_or((None, None), |(tls, ca)| (Some(tls), Some(ca)));
    let usual = CallbackPolicy::default();
    let config = Config {
        accounts,
        profile: args.profile,
        auth: match args.auth {
            AuthArg::Verify => Auth::Verify,
            AuthArg::Any => Auth::Any,
        },
        limits,
        instant_upload: args.instant_upload == Switch::On,
        sign_hosts: args.sign_host,
        plan,
        seed,
        journal,
        killer: args.kill_host.then(|| Arc::new(StdioKiller::start()) as Arc<dyn vod_serve::Killer>),
        callbacks: CallbackPolicy {
            notify: args.notify,
            delay: args.callback_delay.unwrap_or(usual.delay),
            transcode_delay: args.transcode_delay.unwrap_or(usual.transcode_delay),
            ..usual
        },
        admin,
        tls,
        ..Config::default()
    };
    let mock = Mock::open(config, store).await?;
    // Whoever reads that it listens may ask it to stop at once.
    let asked_to_stop = asked_to_stop();
    let scheme = if ca.is_some() { "https" } else { "http" };
    let listening = format!("{scheme}://{addr}");
    let admin_listening = match (&admin_port, admin_place) {
        (Some(port), _) => Some(format!("http://{}", port.addr())),
        (None, AdminPlace::Nowhere) => None,
        (None, _) => Some(listening.clone()),
    };
    let mut ready = serde_json::json!({ "listening": listening, "seed": seed });
    match admin_listening {
        Some(admin) => ready["admin"] = admin.into(),
        None => {
            let why = "it listens beyond loopback, and has no token: see --admin-token-file";
            let _ = writeln!(io::stderr(), "vod-mock: the admin API is not served: {why}");
        }
    }
    if let Some(ca) = ca {
        ready["ca"] = ca.to_string_lossy().into();
    }
    let _ready_file = announce(&ready, args.ready_file)?;
    let stopped = async {
        asked_to_stop.await;
        mock.settled().await;
        // Before the connections are dropped: what this server ends was not ended by its clients.
        mock.stop();
        mock.read_out().await;
    };
    serve_until(stopped, mock.serve_both(port, admin_port)).await;
    for id in mock.unfired() {
        let _ = writeln!(io::stderr(), "vod-mock: fault {id:?} never struck");
    }
    let unwritable = mock.unwritable();
    if let Some(path) = args.findings {
        write_findings(&path, &mock.findings()).map_err(|source| Failure::Findings { path, source })?;
    }
    // Last, and loud: whoever judges by that file must not take what is missing for what did not happen.
    if unwritable > 0 { Err(Failure::Unwritable(unwritable)) } else { Ok(()) }
}

/// Makes sure that findings can be written, and that none of an earlier run are there: a mock that is killed leaves none.
fn no_findings(path: &Path) -> Result<(), Failure> {
    let cleared = std::fs::write(path, "").and_then(|()| {
        // A pipe or a link is somebody else's to take away.
        if path.symlink_metadata()?.is_file() { std::fs::remove_file(path) } else { Ok(()) }
    });
    cleared.map_err(|source| Failure::Findings { path: path.to_owned(), source })
}

fn write_findings(path: &Path, findings: &Findings) -> io::Result<()> {
    std::fs::write(path, serde_json::to_string(findings)? + "\n")
}

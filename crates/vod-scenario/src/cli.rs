//! The `vod-scenario` command line. Reports go to stdout, everything else to stderr.

use std::{
    ffi::{OsStr, OsString},
    fmt::Display,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand, ValueEnum};

use crate::{
    evidence::Target,
    exit,
    format::{ClientCommand, Dialect, Scenario},
    judge::Verdict,
    library::{self, LibraryError},
    process,
    report::{report, summary},
    run::{self, InPlace, Named, NotRun, RunResult, Settings},
};

/// Runs and judges scenarios against the mock and the client.
#[derive(Debug, Parser)]
#[command(name = "vod-scenario", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs scenarios: those named, or all in ./scenarios
    Run(RunArgs),
    /// Lists the scenarios in ./scenarios
    List,
    /// Checks scenario files without running them
    Check {
        /// The files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// Names of scenarios in ./scenarios, or files
    #[arg(value_name = "NAME|FILE")]
    names: Vec<String>,
    /// Where to run them
    #[arg(long, value_enum, default_value_t = Targets::All)]
    target: Targets,
    /// Decides the client's waits and every chance of the fault plan
    #[arg(long, default_value_t = run::SEED)]
    seed: u64,
    /// Only scenarios with this tag; several tags widen the choice
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Put this program in the client's place, on the target process: words as a shell splits them, with {file},
    /// {endpoint} and others filled in; credentials are in its environment, its exit code is the outcome
    #[arg(long, value_name = "COMMAND")]
    client: Option<ClientCommand>,
    /// What the requests of --client look like, whatever the files say: observed is POST, /v3, which
    /// no mock refuses then
    #[arg(long, value_name = "DIALECT", requires = "client", value_parser = dialect)]
    dialect: Option<Dialect>,
    /// Keep files and evidence of the runs in this directory
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Targets {
    /// In one thread, on a paused clock
    Sim,
    /// With real processes
    Process,
    /// Both
    All,
}

impl Targets {
    fn each(self) -> &'static [Target] {
        match self {
            Self::Sim => &[Target::Sim],
            Self::Process => &[Target::Process],
            Self::All => &Target::ALL,
        }
    }
}

impl RunArgs {
    fn in_place(&self) -> Result<Option<InPlace>, String> {
        let Some(command) = self.client.clone() else { return Ok(None) };
        if matches!(self.target, Targets::Sim) {
            return Err("--client is a program, and sim starts none: use --target process".to_owned());
        }
        let here = std::env::current_dir().map_err(|error| format!("cannot find the current directory: {error}"))?;
        Ok(Some(InPlace { command: command.written_in(&here), dialect: self.dialect }))
    }
}

fn dialect(word: &str) -> Result<Dialect, String> {
    let known = [Dialect::Documented, Dialect::Observed];
    known.into_iter().find(|dialect| dialect.name() == word).ok_or_else(|| "expected documented or observed".to_owned())
}

/// Runs the command line. `args` begins with the program's name.
///
/// `vod-scenario mock …`, `vod-scenario client …` and `vod-scenario proxy …` are the other programs: process scenarios run
/// them from this very binary, so that no test meets one that is stale or missing.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let other = |name: &str| std::iter::once(OsString::from(name)).chain(args.iter().skip(2).cloned());
    match args.get(1).map(OsString::as_os_str).and_then(OsStr::to_str) {
        Some("mock") => vod_mock::cli::main(other("vod-mock")),
        Some("proxy") => vod_proxy::cli::main(other("vod-proxy")),
        Some("client") => vod_client::cli::main(other("vod-client")),
        _ => match Cli::try_parse_from(&args) {
            Ok(cli) => ExitCode::from(dispatch(cli.command)),
            Err(error) => {
                let _ = error.print();
                ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit::USAGE))
            }
        },
    }
}

fn dispatch(command: Command) -> u8 {
    match command {
        Command::Run(args) => run_all(&args),
        Command::List => list(Path::new(library::DIR)),
        Command::Check { files } => check(&files),
    }
}

/// A line for people, or for a program that reads reports. Whoever does not read it any more misses nothing.
fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn complain(error: impl Display) {
    let _ = writeln!(io::stderr(), "vod-scenario: {error}");
}

fn run_all(args: &RunArgs) -> u8 {
    let stories = match chosen(Path::new(library::DIR), args) {
        Ok(stories) => stories,
        Err(errors) => {
            errors.iter().for_each(complain);
            return exit::USAGE;
        }
    };
    if stories.is_empty() {
        complain("no scenario fits what was asked for");
        return exit::USAGE;
    }
    let binary = match process::this_binary() {
        Ok(binary) => binary,
        Err(error) => {
            complain(format!("cannot find its own binary: {error}"));
            return exit::USAGE;
        }
    };
    let client = match args.in_place() {
        Ok(client) => client,
        Err(error) => {
            complain(error);
            return exit::USAGE;
        }
    };
    let settings = Settings { seed: args.seed, binary, keep: args.keep.clone(), client };
    let mut runs = Vec::new();
    for story in &stories {
        let foreign = settings.client.is_some() || story.scenario.client.command.is_some();
        for target in args.target.each() {
            // Simulation has no programs: of both targets one is left. Where it was asked for alone, it says why not.
            if foreign && matches!((args.target, target), (Targets::All, Target::Sim)) {
                continue;
            }
            let run = run::run(story, *target, &settings);
            say(report(&run));
            let interrupted = matches!(run.result, RunResult::NotRun(NotRun::Interrupted));
            runs.push(run);
            if interrupted {
                return exit::NOT_PASSED;
            }
        }
    }
    if runs.len() > 1 {
        say(summary(&runs));
    }
    if runs.iter().all(|run| run.verdict() == Verdict::Pass) { exit::PASS } else { exit::NOT_PASSED }
}

/// The stories that were asked for. All of them are read before any is run.
fn chosen(dir: &Path, args: &RunArgs) -> Result<Vec<Named>, Vec<LibraryError>> {
    let names =
        if args.names.is_empty() { library::names(dir).map_err(|error| vec![error])? } else { args.names.clone() };
    let (mut stories, mut errors) = (Vec::new(), Vec::new());
    for name in &names {
        match library::load(dir, name) {
            Ok(story) => stories.push(story),
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    stories.retain(|story| args.tag.is_empty() || args.tag.iter().any(|tag| story.scenario.tags.contains(tag)));
    Ok(stories)
}

fn list(dir: &Path) -> u8 {
    let names = match library::names(dir) {
        Ok(names) => names,
        Err(error) => {
            complain(error);
            return exit::USAGE;
        }
    };
    let mut code = exit::PASS;
    for name in names {
        match library::load(dir, &name) {
            Ok(Named { scenario, .. }) => {
                let first = scenario.why.trim().lines().next().unwrap_or("").to_owned();
                say(format!("{name:<28} [{}] {first}", scenario.tags.join(", ")));
            }
            Err(error) => {
                complain(error);
                code = exit::USAGE;
            }
        }
    }
    code
}

fn check(files: &[PathBuf]) -> u8 {
    let mut code = exit::PASS;
    for file in files {
        match Scenario::load(file) {
            Ok(_) => say(format!("{}: a good scenario", file.display())),
            Err(error) => {
                complain(error);
                code = exit::USAGE;
            }
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_xtask_hands_over_is_understood() {
        let cli = Cli::try_parse_from(["vod-scenario", "run", "a", "b", "--target", "sim", "--seed", "7"]).unwrap();
        let Command::Run(args) = cli.command else { panic!("not run") };
        assert_eq!((args.names, args.seed), (vec!["a".to_owned(), "b".to_owned()], 7));
        assert_eq!(args.target.each(), [Target::Sim]);
    }

    #[test]
    fn nothing_is_run_while_any_file_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.toml"), "format = 2").unwrap();
        let args = |names: &[&str]| RunArgs {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            target: Targets::All,
            seed: 1,
            tag: vec![],
            keep: None,
            client: None,
            dialect: None,
        };
        let errors = chosen(dir.path(), &args(&["a", "b"])).unwrap_err();
        assert_eq!(errors.len(), 2);
        assert!(errors[0].to_string().contains("reads format 1"), "{}", errors[0]);
    }
}

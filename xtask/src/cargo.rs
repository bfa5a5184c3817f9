//! Running cargo and other programs from the root of the workspace.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, ExitStatus, Output, Stdio},
};

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace's root")
}

/// A command line that can be shown, run, and repeated by hand.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(&'static str, String)>,
    path: Option<PathBuf>,
}

impl Line {
    /// A program found by its name.
    pub(crate) fn new(program: &str, args: &[&str]) -> Self {
        Self { program: program.into(), args: args.iter().map(Into::into).collect(), env: Vec::new(), path: None }
    }

    /// Cargo, the one that runs us where there is one.
    pub(crate) fn cargo(args: &[&str]) -> Self {
        Self { path: std::env::var_os("CARGO").map(PathBuf::from), ..Self::new("cargo", args) }
    }

    /// A program that was just built, shown by its name alone.
    pub(crate) fn built(executable: PathBuf, args: &[&str]) -> Self {
        let name = executable.file_stem().map_or_else(|| executable.clone().into_os_string(), OsStr::to_owned);
        Self { program: name, path: Some(executable), ..Self::new("", args) }
    }

    /// More arguments behind the others.
    pub(crate) fn with(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// A variable of the environment.
    pub(crate) fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.path.as_deref().map_or(self.program.as_os_str(), Path::as_os_str));
        command.args(&self.args).envs(self.env.iter().map(|(name, value)| (name, value))).current_dir(root());
        command
    }

    /// Says the line, runs it to its end and gives back how it ended.
    ///
    /// # Errors
    /// Says that the program could not be started.
    pub(crate) fn run(&self) -> Result<ExitStatus, Failure> {
        eprintln!("$ {self}");
        self.command().status().map_err(|error| self.not_started(&error))
    }

    /// Runs the line unsaid and gives back what it wrote.
    ///
    /// # Errors
    /// Says that the program could not be started.
    pub(crate) fn output(&self) -> Result<Output, Failure> {
        self.command().stdin(Stdio::null()).output().map_err(|error| self.not_started(&error))
    }

    /// Says the line, runs it, and gives back its stdout; its stderr is shown as it comes.
    ///
    /// # Errors
    /// Says that the program could not be started, or that it failed.
    pub(crate) fn stdout(&self) -> Result<Vec<u8>, Failure> {
        eprintln!("$ {self}");
        let output = self.command().stderr(Stdio::inherit()).output().map_err(|error| self.not_started(&error))?;
        if output.status.success() { Ok(output.stdout) } else { Err(self.failed(output.status)) }
    }

    /// Starts the line unsaid, with the streams it is given, and leaves it running.
    ///
    /// # Errors
    /// Says that the program could not be started.
    pub(crate) fn spawn(&self, streams: impl FnOnce(&mut Command) -> &mut Command) -> Result<Child, Failure> {
        streams(&mut self.command()).spawn().map_err(|error| self.not_started(&error))
    }

    /// Says that this line ended badly.
    pub(crate) fn failed(&self, status: ExitStatus) -> Failure {
        Failure(format!("`{self}` failed: {status}"))
    }

    fn not_started(&self, error: &std::io::Error) -> Failure {
        Failure(format!("`{self}` could not be started: {error}"))
    }
}

/// As one would type it.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.env {
            write!(f, "{name}={} ", quoted(value))?;
        }
        write!(f, "{}", quoted(&self.program.to_string_lossy()))?;
        for arg in &self.args {
            write!(f, " {}", quoted(&arg.to_string_lossy()))?;
        }
        Ok(())
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_=./:,@+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Builds the binaries of these packages, each named like its package, and says where they lie.
///
/// # Errors
/// Says that they could not be built.
pub(crate) fn build<const N: usize>(release: bool, packages: [&str; N]) -> Result<[PathBuf; N], Failure> {
    build_with(Line::cargo(&["build"]).with(release.then_some("--release")), packages)
}

/// The same by a line that says how: `cargo build` and its options, but for what is built.
///
/// # Errors
/// Says that they could not be built.
pub(crate) fn build_with<const N: usize>(line: Line, packages: [&str; N]) -> Result<[PathBuf; N], Failure> {
    let named = packages.iter().flat_map(|package| ["--package", package, "--bin", package]);
    let line = line.with(named).with(["--message-format=json-render-diagnostics"]);
    let messages = line.stdout()?;
    let messages = String::from_utf8_lossy(&messages);
    let built = packages.map(|package| executable(&messages, package).ok_or(package));
    if let Some(missing) = built.iter().find_map(|built| built.as_ref().err()) {
        return Err(Failure(format!("`{line}` built no {missing}: its messages name no such executable")));
    }
    Ok(built.map(Result::unwrap_or_default))
}

/// The path of a binary in cargo's messages, one JSON object a line. Cargo alone knows the target directory.
fn executable(messages: &str, binary: &str) -> Option<PathBuf> {
    messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()).find_map(|message| {
        let wanted = message["target"]["name"] == binary && message["reason"] == "compiler-artifact";
        message["executable"].as_str().filter(|_| wanted).map(PathBuf::from)
    })
}

/// Why a command of ours gave up, in a sentence.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Our own exit code, from that of the program we ran. One that a signal ended has none, which is a failure.
pub(crate) fn exit_code(status: ExitStatus) -> ExitCode {
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_can_be_pasted_into_a_shell() {
        let line = Line::new("cargo", &["doc", "--locked"]).env("RUSTDOCFLAGS", "-D warnings").with(["it's", ""]);
        assert_eq!(line.to_string(), r"RUSTDOCFLAGS='-D warnings' cargo doc --locked 'it'\''s' ''");
    }

    #[test]
    fn a_built_program_is_shown_by_its_name() {
        let line = Line::built(PathBuf::from("some/where/vod-scenario"), &["run"]);
        assert_eq!(line.to_string(), "vod-scenario run");
    }

    #[test]
    fn the_executable_is_the_artifact_of_that_name_that_has_one() {
        let library = r#"{"reason":"compiler-artifact","target":{"name":"vod-scenario"},"executable":null}"#;
        let other = r#"{"reason":"compiler-artifact","target":{"name":"vod-mock"},"executable":"/t/vod-mock"}"#;
        let ours = r#"{"reason":"compiler-artifact","target":{"name":"vod-scenario"},"executable":"C:\\t\\a b"}"#;
        let end = r#"{"reason":"build-finished","success":true}"#;
        let all = [library, "not json", other, ours, end].join("\n");
        assert_eq!(executable(&all, "vod-scenario"), Some(PathBuf::from(r"C:\t\a b")));
        assert_eq!(executable(&[library, other, end].join("\n"), "vod-scenario"), None);
    }
}

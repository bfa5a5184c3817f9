//! Running cargo and other programs from the root of the workspace.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus, Output, Stdio},
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
    env: Vec<(&'static str, &'static str)>,
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
    pub(crate) fn env(mut self, name: &'static str, value: &'static str) -> Self {
        self.env.push((name, value));
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.path.as_deref().map_or(self.program.as_os_str(), Path::as_os_str));
        command.args(&self.args).envs(self.env.iter().copied()).current_dir(root());
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
}

//! `vod-proxy ca`: the CA that clients of `record` trust.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use vod_serve::{
    WallClock,
    tls::{CERTIFICATE_FILE, Ca, CaError, shared_dir},
};

use super::{complain, say};
use crate::exit;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Makes it, unless it is there; its key can be read by its owner alone
    Make(Place),
    /// Shows whose it is, its fingerprint, and for how long it holds
    Show(Place),
    /// Writes the certificate that clients must trust, in PEM
    Export {
        #[command(flatten)]
        place: Place,
        /// Where to [default: stdout]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
struct Place {
    /// The CA's directory [default: vod-testkit/ca in the user's own, which is ~/.local/share]
    #[arg(long, value_name = "DIR")]
    tls_dir: Option<PathBuf>,
}

/// What is wrong with a CA, or with the file it goes to.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("there is no home directory to keep the CA in: say where with --tls-dir")]
    NoHome,
    #[error("there is no CA in {0}: make one with vod-proxy ca make")]
    None(PathBuf),
    #[error(transparent)]
    Ca(#[from] CaError),
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: io::Error },
}

pub(super) fn run(args: Args) -> u8 {
    match carry_out(args.command) {
        Ok(()) => exit::DONE,
        Err(failure) => {
            complain(&failure);
            match failure {
                Failure::NoHome | Failure::None(_) => exit::USAGE,
                Failure::Ca(_) | Failure::Write { .. } => exit::WRITE,
            }
        }
    }
}

fn carry_out(command: Command) -> Result<(), Failure> {
    let now = WallClock::system().now();
    match command {
        Command::Make(place) => {
            let dir = place.dir()?;
            show(&Ca::open(&dir, now)?, &dir);
        }
        Command::Show(place) => {
            let dir = place.dir()?;
            show(&place.there(now)?, &dir);
        }
        Command::Export { place, output: Some(path) } => {
            std::fs::write(&path, place.there(now)?.pem()).map_err(|source| Failure::Write { path, source })?;
        }
        Command::Export { place, output: None } => {
            let ca = place.there(now)?;
            // Whoever does not read it any more misses nothing.
            let _ = io::stdout().write_all(ca.pem().as_bytes());
        }
    }
    Ok(())
}

impl Place {
    fn dir(&self) -> Result<PathBuf, Failure> {
        self.tls_dir.clone().or_else(shared_dir).ok_or(Failure::NoHome)
    }

    /// The CA that is there. None is made.
    fn there(&self, now: jiff::Timestamp) -> Result<Ca, Failure> {
        let dir = self.dir()?;
        if !dir.join(CERTIFICATE_FILE).exists() {
            return Err(Failure::None(dir));
        }
        Ok(Ca::open(&dir, now)?)
    }
}

fn show(ca: &Ca, dir: &std::path::Path) {
    let described = ca.described();
    say(format_args!("certificate: {}", dir.join(CERTIFICATE_FILE).display()));
    say(format_args!("subject:     {}", described.subject));
    say(format_args!("SHA-256:     {}", described.fingerprint));
    say(format_args!("holds:       {} to {}", described.from, described.to));
}

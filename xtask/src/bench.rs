//! `cargo xtask bench`: how fast and how small what was built is, held against the bar.
//!
//! - [`bar`]: the figures to meet, each with its reason, and the arithmetic of a verdict; pure.
//! - [`mock`]: what is measured of the mock, round by round; [`client`]: what is measured of uploads.
//! - [`proxy`]: what is measured of the proxy; [`candidate`]: a server that is asked in every round.
//! - [`built`]: the programs, and what becomes of the figures.
//! - [`floor`]: the small server that the mock is measured against; [`frames`]: what an upload is measured against.
//! - [`load`]: asks a server as fast as it answers, and counts.
//! - [`requests`]: the requests that it asks.
//! - [`process`]: a server as a process of its own, and what the system tells of it.
//! - [`upload`]: a large file or many small ones, uploaded by the client's binary.
//! - [`table`]: what is printed and written of it all.
//!
//! The server, the floor and the load are processes of their own, built with optimisation; what directs them is not
//! in anybody's way.

mod bar;
mod built;
mod candidate;
mod client;
mod floor;
mod frames;
mod load;
mod mock;
mod process;
mod proxy;
mod requests;
mod table;
mod upload;

use std::process::ExitCode;

use clap::Subcommand;

use crate::cargo::Failure;

/// What can be measured.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// The mock: requests a second and latency beside a bare hyper server, start, and memory while a large file comes.
    Mock(mock::Options),
    /// Uploads: time, processor time and memory of both ends beside the same bytes over bare TCP.
    Upload(client::Options),
    /// The proxy: parts passed on and recorded beside the same without it, memory, and how soon a replay answers.
    Proxy(proxy::Options),
    /// Receives files in frames, until its stdin ends.
    #[command(hide = true)]
    Receive,
    /// Sends a file in frames.
    #[command(hide = true)]
    Send(frames::Options),
    /// Answers every request with the same JSON, until its stdin ends.
    #[command(hide = true)]
    Floor {
        /// What it answers.
        body: String,
    },
    /// Asks a server as fast as it answers, and prints what came of it as a line of JSON.
    #[command(hide = true)]
    Load(load::Options),
}

/// Measures what is named; without a name, says what there is.
///
/// # Errors
/// Says what could not be built, started or measured.
pub(crate) fn run(what: Option<Bench>) -> Result<ExitCode, Failure> {
    match what {
        None => {
            list();
            Ok(ExitCode::SUCCESS)
        }
        Some(Bench::Mock(options)) => mock::run(&options),
        Some(Bench::Upload(options)) => client::run(&options),
        Some(Bench::Proxy(options)) => proxy::run(&options),
        Some(Bench::Receive) => frames::receive(),
        Some(Bench::Send(options)) => frames::send(&options),
        Some(Bench::Floor { body }) => floor::run(body),
        Some(Bench::Load(options)) => load::run(&options),
    }
}

fn list() {
    for command in Bench::augment_subcommands(clap::Command::new("bench")).get_subcommands() {
        if !command.is_hide_set() {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            eprintln!("cargo xtask bench {}: {about}", command.get_name());
        }
    }
}

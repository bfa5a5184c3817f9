//! The `vod-scenario` binary: one call into the library.

fn main() -> std::process::ExitCode {
    vod_scenario::cli::main(std::env::args_os())
}

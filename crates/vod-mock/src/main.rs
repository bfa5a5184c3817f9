//! The `vod-mock` binary: one call into its library.

fn main() -> std::process::ExitCode {
    vod_mock::cli::main(std::env::args_os())
}

//! The `vod-proxy` binary: one call into its library.

fn main() -> std::process::ExitCode {
    vod_proxy::cli::main(std::env::args_os())
}

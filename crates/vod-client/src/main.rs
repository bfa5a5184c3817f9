//! The program `vod-client`.

fn main() -> std::process::ExitCode {
    vod_client::cli::main(std::env::args_os())
}

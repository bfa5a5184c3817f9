//! The `vod-mock` binary: one call into its library.

/// What a request leaves behind is made on one thread and dropped on another. The allocators of most systems are slow
/// at that: with this one the mock answers a fifth more requests, and needs no more memory.
#[cfg(all(feature = "jemalloc", not(target_env = "msvc")))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    vod_mock::cli::main(std::env::args_os())
}

//! Where `vod-client upload` keeps the digests of files, so that it need not read one again that it resumes.

use std::path::PathBuf;

use clap::Args;

#[derive(Args)]
pub(super) struct CacheArgs {
    /// Keep the digests of files here, and read none again that has not changed since [default: vod-testkit/digests in
    /// the user's own cache, which is ~/.cache]
    #[arg(long, value_name = "DIR", conflicts_with = "no_digest_cache")]
    digest_cache: Option<PathBuf>,

    /// Read every file anew, and keep nothing
    #[arg(long)]
    no_digest_cache: bool,
}

impl CacheArgs {
    /// The directory; none where there is to be none, or no home for one.
    pub(super) fn dir(&self) -> Option<PathBuf> {
        if self.no_digest_cache { None } else { self.digest_cache.clone().or_else(of_user) }
    }
}

/// `vod-testkit/digests` in `$XDG_CACHE_HOME`, by default `~/.cache`.
fn of_user() -> Option<PathBuf> {
    // A relative path there counts for none: so it is agreed among those who read this variable.
    let named = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let home = || Some(std::env::home_dir().filter(|home| home.is_absolute())?.join(".cache"));
    Some(named.or_else(home)?.join("vod-testkit/digests"))
}

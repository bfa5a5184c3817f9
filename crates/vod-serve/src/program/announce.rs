//! Says where a server listens, and serves until it is asked to stop.

use std::{
    convert::Infallible,
    future::Future,
    io::{self, Write as _},
    path::PathBuf,
};

use super::{ReadyFile, ReadyFileError};

/// Prints the line that says that a server listens, and writes it to `file` too, if there is one: it is there as long as what is
/// returned. Call it last of all, for whoever reads the line may ask for anything at once.
///
/// # Errors
/// If the file cannot be written.
pub fn announce(ready: &serde_json::Value, file: Option<PathBuf>) -> Result<Option<ReadyFile>, ReadyFileError> {
    let line = format!("{ready}\n");
    let file = file.map(|path| ReadyFile::write(path, &line)).transpose()?;
    // Nobody may be reading: it serves all the same.
    let _ = io::stdout().write_all(line.as_bytes()).and_then(|()| io::stdout().flush());
    Ok(file)
}

/// Serves until `stopped` is over: it waits until it is asked to, and then for what is under way. Connections that are left
/// are dropped.
pub async fn serve_until(stopped: impl Future<Output = ()>, serving: impl Future<Output = Infallible>) {
    tokio::select! {
        biased;
        () = stopped => {}
        never = serving => match never {},
    }
}

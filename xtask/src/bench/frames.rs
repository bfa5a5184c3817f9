//! The floor of an upload: a file in frames over bare TCP, hashed at both ends as an upload is, and nothing else.
//!
//! Whoever sends takes the MD5 of each frame and, along the file, the SHA-1 of the whole; whoever receives checks each
//! MD5 and takes the SHA-1 again. Frames go over so many connections, a thread for each at either end.
//!
//! The hashes are those of the crates `md-5` and `sha1`, whatever the client and the mock hash with: a floor that moved
//! with them would hide how fast they are.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::fs::FileExt as _,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use clap::Args;
use md5::Md5;
use sha1::{Digest as _, Sha1};

use crate::cargo::Failure;

/// The bytes of a frame; the last may have fewer.
const FRAME: usize = 1 << 20;

/// What is sent where.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Who receives
    #[arg(long)]
    at: SocketAddr,
    /// Over how many connections
    #[arg(long)]
    connections: usize,
    /// The file
    file: PathBuf,
}

/// A SHA-1 that many threads take together, frame after frame.
struct Along {
    state: Mutex<(u64, Sha1)>,
    turn: Condvar,
}

impl Along {
    fn new() -> Self {
        Self { state: Mutex::new((0, Sha1::new())), turn: Condvar::new() }
    }

    /// Takes a frame in, when all before it are.
    fn take(&self, index: u64, bytes: &[u8]) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let others = self.turn.wait_while(state, |(next, _)| *next != index);
        let mut state = others.unwrap_or_else(PoisonError::into_inner);
        state.1.update(bytes);
        state.0 += 1;
        self.turn.notify_all();
    }

    fn finish(self) -> [u8; 20] {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).1.finalize().into()
    }
}

/// Receives one file on a free port of loopback after another, says on stdout where, and ends with its stdin.
///
/// # Errors
/// Says that it could not listen.
pub(super) fn receive() -> Result<ExitCode, Failure> {
    let failed = |error: io::Error| Failure(format!("frames cannot be received: {error}"));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    let ready = serde_json::json!({ "listening": format!("http://{}", listener.local_addr().map_err(failed)?) });
    writeln!(io::stdout(), "{ready}").map_err(failed)?;
    thread::spawn(move || {
        loop {
            if let Err(error) = receive_file(&listener) {
                eprintln!("a file could not be received: {error}");
            }
        }
    });
    io::stdin().read_to_end(&mut Vec::new()).map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}

/// Each connection begins with how many there are of them, and the last frame is followed by the SHA-1 of the whole.
fn receive_file(listener: &TcpListener) -> io::Result<()> {
    let mut first = listener.accept()?.0;
    let count = read_number(&mut first)?;
    let mut connections = vec![first];
    for _ in 1..count {
        let mut next = listener.accept()?.0;
        read_number(&mut next)?;
        connections.push(next);
    }
    let along = Along::new();
    thread::scope(|scope| {
        let threads: Vec<_> =
            connections.iter().map(|connection| scope.spawn(|| receive_frames(connection, &along))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())))
    })?;
    let sha1 = along.finish();
    connections.iter().try_for_each(|mut connection| connection.write_all(&sha1))
}

fn receive_frames(mut connection: &TcpStream, along: &Along) -> io::Result<()> {
    let mut buffer = vec![0; FRAME];
    loop {
        let index = read_number(&mut connection)?;
        // What no file has as many frames of says that this connection brings no more.
        if index == u64::MAX {
            return Ok(());
        }
        let len = usize::try_from(read_number(&mut connection)?).unwrap_or(usize::MAX).min(FRAME);
        let mut announced = [0; 16];
        connection.read_exact(&mut announced)?;
        connection.read_exact(&mut buffer[..len])?;
        if *Md5::digest(&buffer[..len]) != announced {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("frame {index} is not what was sent")));
        }
        along.take(index, &buffer[..len]);
    }
}

/// Sends a file, and checks that it came to the same at the other end.
///
/// # Errors
/// Says that it could not be read or sent, or came to something else.
pub(super) fn send(options: &Options) -> Result<ExitCode, Failure> {
    let failed = |error: io::Error| Failure(format!("{} cannot be sent: {error}", options.file.display()));
    let file = File::open(&options.file).map_err(failed)?;
    let len = file.metadata().map_err(failed)?.len();
    let (along, next) = (Along::new(), AtomicU64::new(0));
    let ends = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..options.connections).map(|_| scope.spawn(|| send_frames(options, &file, len, &along, &next))).collect();
        let joined =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())));
        joined.collect::<io::Result<Vec<_>>>()
    });
    let ends = ends.map_err(failed)?;
    let sha1 = along.finish();
    if ends.iter().all(|end| *end == sha1) {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(Failure(format!("{} came to another SHA-1 at the other end", options.file.display())))
    }
}

/// Sends every frame that nobody else sends, and gives back the SHA-1 that the other end says.
fn send_frames(options: &Options, file: &File, len: u64, along: &Along, next: &AtomicU64) -> io::Result<[u8; 20]> {
    let mut connection = TcpStream::connect(options.at)?;
    connection.set_nodelay(true)?;
    connection.write_all(&(options.connections as u64).to_be_bytes())?;
    let mut buffer = vec![0; FRAME];
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let offset = index * FRAME as u64;
        if offset >= len {
            break;
        }
        let bytes = usize::try_from(len - offset).unwrap_or(usize::MAX).min(FRAME);
        file.read_exact_at(&mut buffer[..bytes], offset)?;
        along.take(index, &buffer[..bytes]);
        let mut head = [index.to_be_bytes(), (bytes as u64).to_be_bytes()].concat();
        head.extend(Md5::digest(&buffer[..bytes]));
        connection.write_all(&head)?;
        connection.write_all(&buffer[..bytes])?;
    }
    connection.write_all(&u64::MAX.to_be_bytes())?;
    let mut sha1 = [0; 20];
    connection.read_exact(&mut sha1)?;
    Ok(sha1)
}

fn read_number(from: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_over_any_number_of_connections_comes_to_the_same_at_the_other_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(5 * FRAME as u64 + 7).unwrap();
        file.as_file().write_all_at(b"x", 3 << 20).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let receiving = thread::spawn(move || (0..3).map(|_| receive_file(&listener)).collect::<io::Result<Vec<_>>>());
        for connections in [1, 3, 8] {
            send(&Options { at, connections, file: file.path().to_owned() }).unwrap();
        }
        receiving.join().unwrap().unwrap();
    }

    #[test]
    fn a_frame_that_was_changed_on_its_way_is_not_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut connection = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        for number in [1u64, 0, 3] {
            connection.write_all(&number.to_be_bytes()).unwrap();
        }
        connection.write_all(&Md5::digest(b"abc")).unwrap();
        connection.write_all(b"abd").unwrap();
        assert_eq!(receive_file(&listener).unwrap_err().to_string(), "frame 0 is not what was sent");
    }
}

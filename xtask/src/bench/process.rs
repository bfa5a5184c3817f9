//! A server that is measured, as a process of its own, and what the system tells of it.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Stdio},
    time::Duration,
};

use crate::cargo::{Failure, Line};

/// How long an answer that belongs to no measurement is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that runs until this is dropped.
pub(super) struct Server {
    child: Child,
    addr: SocketAddr,
}

impl Server {
    /// Starts it and waits until it says where it listens.
    ///
    /// # Errors
    /// Says that it could not be started, or did not say where it listens.
    pub(super) fn start(line: &Line) -> Result<Self, Failure> {
        // Its stdin stays open as long as this lives: the floor ends with it.
        let mut child = line.spawn(|command| command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let mut said = String::new();
        let read = child.stdout.as_mut().map(|stdout| BufReader::new(stdout).read_line(&mut said));
        let addr = listening(&said).filter(|_| matches!(read, Some(Ok(_))));
        let mut server = Self { child, addr: SocketAddr::from(([127, 0, 0, 1], 0)) };
        server.addr = addr.ok_or_else(|| Failure(format!("`{line}` did not say where it listens, but {said:?}")))?;
        Ok(server)
    }

    /// Where it listens.
    pub(super) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The processor time it took so far; none where the system does not tell.
    pub(super) fn cpu(&self) -> Option<Duration> {
        cpu_of(self.child.id())
    }

    /// The most memory it ever had, in bytes; none where the system does not tell.
    pub(super) fn peak(&self) -> Option<u64> {
        peak_of(self.child.id())
    }

    /// Asks it something that is not measured.
    ///
    /// # Errors
    /// Says what came instead of an answer.
    pub(super) fn get(&self, target: &str) -> Result<String, Failure> {
        let failed = |error: std::io::Error| Failure(format!("http://{}{target} cannot be read: {error}", self.addr));
        let mut stream = TcpStream::connect(self.addr).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        let request = format!("GET {target} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.addr);
        stream.write_all(request.as_bytes()).map_err(failed)?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).map_err(failed)?;
        match reply.split_once("\r\n\r\n") {
            Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body.to_owned()),
            _ => Err(Failure(format!("http://{}{target} answered {reply}", self.addr))),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing of it is needed any more; one that has ended cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in a server's first line, such as `{"listening":"http://127.0.0.1:41873"}`.
fn listening(line: &str) -> Option<SocketAddr> {
    let said: serde_json::Value = serde_json::from_str(line).ok()?;
    said["listening"].as_str()?.strip_prefix("http://")?.parse().ok()
}

/// The processor time that a process took so far; none where the system does not tell.
pub(super) fn cpu_of(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks = u32::try_from(cpu_ticks(&stat)?).ok()?;
    Some(Duration::from_secs(1) * ticks / u32::try_from(rustix::param::clock_ticks_per_second()).ok()?)
}

/// The most memory that a process ever had, in bytes. Linux tells it in a line such as `VmHWM:     5232 kB`.
pub(super) fn peak_of(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// The ticks that a process spent in its own code and in the system's, from its line in `/proc`: the 14th and 15th
/// field. The second, its name, may hold anything and ends at the last bracket.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let (own, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(own + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_stands_in_the_first_line() {
        let line = r#"{"listening":"http://127.0.0.1:41873","seed":7}"#;
        assert_eq!(listening(line), Some(SocketAddr::from(([127, 0, 0, 1], 41873))));
        assert_eq!(listening("listening on 127.0.0.1:41873"), None);
    }

    #[test]
    fn the_ticks_are_found_behind_any_name() {
        let stat = "7 (a) 9 (b) R 1 7 7 0 -1 4194304 120 0 0 0 31 11 0 0 20 0 3 0 100 1 2";
        assert_eq!(cpu_ticks(stat), Some(42));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_very_process_has_memory() {
        assert!(peak_of(std::process::id()).is_some_and(|bytes| bytes > 1 << 20));
        assert_eq!(peak_of(u32::MAX), None);
    }
}

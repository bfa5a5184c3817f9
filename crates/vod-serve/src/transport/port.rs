//! TCP: a socket as a connection, and a port that can be shut for a while.

use std::{io, net::SocketAddr, time::Duration};

use tokio::net::{TcpListener, TcpSocket, TcpStream, ToSocketAddrs};

use super::{Listener, Transport};

impl Transport for TcpStream {
    fn reset_on_drop(&mut self) {
        // Without lingering, closing the socket sends RST. A socket that is gone already needs none.
        let _ = socket2::SockRef::from(&*self).set_linger(Some(Duration::ZERO));
    }

    fn hang_up(&mut self) {
        // Without waiting for anybody, this sends FIN. A socket that is gone already needs none.
        let _ = socket2::SockRef::from(&*self).shutdown(std::net::Shutdown::Write);
    }
}

/// A TCP port that is listened at, and can be shut for a while without being lost.
#[derive(Debug)]
pub struct Port {
    addr: SocketAddr,
    ear: Ear,
    receive_buffer: Option<usize>,
}

#[derive(Debug)]
enum Ear {
    Open(TcpListener),
    /// Bound and not listening: nobody else can have the port, and whoever connects is refused.
    Shut(TcpSocket),
    /// Neither: the last attempt failed.
    Lost,
}

impl Port {
    /// Listens at an address; port 0 picks a free one.
    ///
    /// # Errors
    /// If it cannot be listened at.
    pub async fn bind(addr: impl ToSocketAddrs) -> io::Result<Self> {
        TcpListener::bind(addr).await?.try_into()
    }

    /// How much the kernel takes in of each connection before it is read, in bytes. Default: as much as it likes, which is
    /// megabytes where a peer is fast.
    #[must_use]
    pub fn receive_buffer(self, bytes: usize) -> Self {
        Self { receive_buffer: Some(bytes), ..self }
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl TryFrom<TcpListener> for Port {
    type Error = io::Error;

    fn try_from(listener: TcpListener) -> io::Result<Self> {
        Ok(Self { addr: listener.local_addr()?, ear: Ear::Open(listener), receive_buffer: None })
    }
}

/// How many connections may wait to be accepted. Default 1024, as the runtime's own listeners have it.
const BACKLOG: u32 = 1024;

impl Listener for Port {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<TcpStream> {
        let Ear::Open(listener) = &self.ear else { return std::future::pending().await };
        let (stream, _) = listener.accept().await?;
        // Replies are small and awaited: they must not wait for more to come.
        stream.set_nodelay(true)?;
        if let Some(bytes) = self.receive_buffer {
            socket2::SockRef::from(&stream).set_recv_buffer_size(bytes)?;
        }
        Ok(stream)
    }

    fn shut(&mut self) -> io::Result<()> {
        if let Ear::Shut(_) = self.ear {
            return Ok(());
        }
        self.ear = Ear::Lost;
        let socket = || if self.addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        // Whoever else asks for the port has it too, where both reuse addresses and neither listens: so this one does
        // not, or no longer once it is bound, beside connections that are still open.
        let mut bound = socket()?;
        if bound.bind(self.addr).is_err() {
            bound = socket()?;
            bound.set_reuseaddr(true)?;
            bound.bind(self.addr)?;
            bound.set_reuseaddr(false)?;
        }
        self.ear = Ear::Shut(bound);
        Ok(())
    }

    fn open(&mut self) -> io::Result<()> {
        if let Ear::Lost = self.ear {
            self.shut()?;
        }
        if let Ear::Shut(socket) = std::mem::replace(&mut self.ear, Ear::Lost) {
            socket.set_reuseaddr(true)?;
            self.ear = Ear::Open(socket.listen(BACKLOG)?);
        }
        Ok(())
    }
}

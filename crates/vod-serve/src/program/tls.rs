//! The flags about TLS, and where the CA is kept.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    WallClock,
    tls::{CERTIFICATE_FILE, Ca, CaError, HostName, Tls, shared_dir},
};

/// What the flags about TLS ask for that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TlsArgsError {
    /// The CA cannot be used.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// Nobody said where to keep it, and there is no home.
    #[error("there is no home directory to keep the CA in: say where with --tls-dir")]
    NoHome,
    /// It is said where to keep the CA, and no TLS is spoken.
    #[error("--tls-dir is for --tls: without it nothing is kept there")]
    DirWithoutTls,
    /// A forward proxy is not spoken to over TLS itself.
    #[error("--tls is for a server's place: clients of a forward proxy speak TLS through it")]
    Forward,
}

/// The flags about TLS.

#[derive(Debug, clap::Args)]
pub struct TlsArgs {
    /// Speak TLS, with a certificate of a local CA; the first line of stdout names the file that clients must trust
    #[arg(long)]
    tls: bool,
    /// A host that clients believe they talk to, beside loopback and the listening address [default: vod2.qcloud.com,
    /// vod.qcloud.com and vod.api.qcloud.com]
    #[arg(long, value_name = "HOST", requires = "tls")]
    tls_name: Vec<HostName>,
    /// Keep the CA in this directory [default: tls in the data directory, or vod-testkit/ca in the user's own, which is
    /// ~/.local/share]
    #[arg(long, value_name = "DIR")]
    tls_dir: Option<PathBuf>,
}

impl TlsArgs {
    /// Is TLS to be spoken?
    #[must_use]
    pub const fn is_asked_for(&self) -> bool {
        self.tls
    }

    /// Opens the CA of a forward proxy, which speaks TLS in tunnels alone. Returns it with the whole path of the file that clients
    /// must trust.
    ///
    /// # Errors
    /// If the CA cannot be used, there is no place for it, or TLS is to be spoken to the proxy itself.
    pub fn open_forward(self) -> Result<(Arc<Ca>, PathBuf), TlsArgsError> {
        if self.tls {
            return Err(TlsArgsError::Forward);
        }
        open_in(self.tls_dir.or_else(shared_dir))
    }

    /// Opens the CA, if TLS is to be spoken. Returns it with the whole path of the file that clients must trust.
    ///
    /// # Errors
    /// If the CA cannot be used, or there is no place for it.
    pub fn open(self, listening: IpAddr, data_dir: Option<&Path>) -> Result<Option<(Tls, PathBuf)>, TlsArgsError> {
        if !self.tls {
            return if self.tls_dir.is_some() { Err(TlsArgsError::DirWithoutTls) } else { Ok(None) };
        }
        let beside_data = || data_dir.map(|dir| dir.join("tls"));
        let (ca, certificate) = open_in(self.tls_dir.or_else(beside_data).or_else(shared_dir))?;
        let mut tls = Tls::with_ca(ca);
        if !self.tls_name.is_empty() {
            tls.names = self.tls_name;
        }
        // An address for all of a machine's addresses is nobody's name.
        if !listening.is_unspecified() {
            tls.names.push(listening.into());
        }
        Ok(Some((tls, certificate)))
    }
}

fn open_in(dir: Option<PathBuf>) -> Result<(Arc<Ca>, PathBuf), TlsArgsError> {
    let dir = dir.ok_or(TlsArgsError::NoHome)?;
    let ca = Arc::new(Ca::open(&dir, WallClock::system().now())?);
    let certificate = dir.join(CERTIFICATE_FILE);
    Ok((ca, std::path::absolute(&certificate).unwrap_or(certificate)))
}

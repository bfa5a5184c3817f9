//! The flags about the admin API: where it listens, and the token it demands.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use vod_serve::Port;

use super::{Failure, listen, read};
use crate::{AdminPlace, AdminPolicy, AdminToken};

/// Where the token is, if it is in no file. Never an argument: those are for everybody on the machine to see.
const TOKEN_VARIABLE: &str = "VOD_ADMIN_TOKEN";

#[derive(clap::Args)]
pub(super) struct AdminArgs {
    /// Serve the admin API here, and not beside the protocol; port 0 picks a free one. Beyond loopback it demands a token
    #[arg(long, value_name = "ADDR")]
    admin_listen: Option<SocketAddr>,
    /// What requests to the admin API must show as `Authorization: Bearer` stands in this file [default: in the variable
    /// VOD_ADMIN_TOKEN; with neither, no admin API is served beside the protocol beyond loopback]
    #[arg(long, value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
}

impl AdminArgs {
    /// Who may ask what where, beside a protocol that is served at this address; and the port of the admin API, if it
    /// has one of its own.
    pub(super) async fn open(self, beside: IpAddr) -> Result<(AdminPolicy, Option<Port>), Failure> {
        let token = self.token()?;
        let Some(addr) = self.admin_listen else {
            let served = is_loopback(beside) || token.is_some();
            let place = if served { AdminPlace::Shared } else { AdminPlace::Nowhere };
            return Ok((AdminPolicy { place, token }, None));
        };
        if !is_loopback(addr.ip()) && token.is_none() {
            return Err(Failure::AdminWithoutToken(addr));
        }
        let port = listen(addr).await?;
        Ok((AdminPolicy { place: AdminPlace::Apart, token }, Some(port)))
    }

    fn token(&self) -> Result<Option<AdminToken>, Failure> {
        let (text, from) = match (&self.admin_token_file, std::env::var_os(TOKEN_VARIABLE)) {
            (Some(path), _) => (read(path)?, path.display().to_string()),
            (None, Some(text)) => (text.to_string_lossy().into_owned(), TOKEN_VARIABLE.to_owned()),
            (None, None) => return Ok(None),
        };
        // A file ends in a line break, as a rule.
        AdminToken::new(text.trim()).map(Some).map_err(|source| Failure::AdminToken { from, source })
    }
}

/// Can nobody but this machine reach it?
fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

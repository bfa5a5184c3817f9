//! Whose certificates are believed, over TLS.

use std::{
    fmt,
    path::Path,
    sync::{Arc, OnceLock},
};

use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio_rustls::rustls::{
    self, ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::error::ConfigError;

/// Whose certificates are believed, of servers at `https://` and of proxies there. Default [`Trust::system`].
///
/// Clones share what was read and the sessions that servers let us resume, so one is best made for many uploads.
#[derive(Clone)]
pub struct Trust(Arc<Inner>);

struct Inner {
    /// None for the system's.
    roots: Option<RootCertStore>,
    /// Made when it is first needed: whoever uploads over plain HTTP needs no certificates on the machine.
    config: OnceLock<Result<Arc<ClientConfig>, ConfigError>>,
}

impl Trust {
    /// Whom the system trusts, by its own rules where it has any (`SSL_CERT_FILE` and `SSL_CERT_DIR` count on Linux).
    #[must_use]
    pub fn system() -> Self {
        Self::new(None)
    }

    /// Who signed with these CAs, in PEM, and nobody else: what is trusted is then the same on every machine, one
    /// without certificates of its own included.
    ///
    /// # Errors
    /// If there is no certificate, or one that cannot be read.
    pub fn only(pem: &[u8]) -> Result<Self, ConfigError> {
        Self::named("the CA given", pem)
    }

    /// The same, from a file.
    ///
    /// # Errors
    /// If it cannot be read, too.
    pub fn only_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let (path, from) = (path.as_ref(), path.as_ref().display().to_string());
        match std::fs::read(path) {
            Ok(pem) => Self::named(&from, &pem),
            Err(error) => Err(ConfigError::Ca { from, why: error.to_string() }),
        }
    }

    fn new(roots: Option<RootCertStore>) -> Self {
        Self(Arc::new(Inner { roots, config: OnceLock::new() }))
    }

    fn named(from: &str, pem: &[u8]) -> Result<Self, ConfigError> {
        let wrong = |why: String| ConfigError::Ca { from: from.to_owned(), why };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| wrong(format!("this is no PEM: {error}")))?;
            roots.add(certificate).map_err(|error| wrong(format!("a certificate cannot be read: {error}")))?;
        }
        if roots.is_empty() {
            return Err(wrong("there is no certificate (expected -----BEGIN CERTIFICATE-----)".to_owned()));
        }
        Ok(Self::new(Some(roots)))
    }

    /// What a handshake is made with.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, ConfigError> {
        let make = || {
            let wrong = |error: rustls::Error| {
                let words = match error {
                    rustls::Error::General(words) => words,
                    other => other.to_string(),
                };
                let why = format!("{words}: say with --ca FILE whom to trust instead");
                ConfigError::Ca { from: "the system".to_owned(), why }
            };
            let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("ring has what these versions of TLS need");
            let builder = match &self.0.roots {
                Some(roots) => builder.with_root_certificates(roots.clone()),
                None => builder.with_platform_verifier().map_err(wrong)?,
            };
            // No protocol is offered (ALPN), which leaves HTTP/1.1.
            Ok(Arc::new(builder.with_no_client_auth()))
        };
        self.0.config.get_or_init(make).clone()
    }
}

impl Default for Trust {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.roots {
            Some(roots) => write!(f, "Trust(only {} CAs)", roots.len()),
            None => f.write_str("Trust(system)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_names_nobody_is_refused_with_its_name() {
        let refused = |pem: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), pem).unwrap();
            let error = Trust::only_file(file.path()).unwrap_err().to_string();
            error.strip_prefix(&format!("trust in {}: ", file.path().display())).unwrap_or(&error).to_owned()
        };
        assert_eq!(refused(""), "there is no certificate (expected -----BEGIN CERTIFICATE-----)");
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert_eq!(refused(key), "there is no certificate (expected -----BEGIN CERTIFICATE-----)");
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(refused(garbage).starts_with("a certificate cannot be read: "), "{}", refused(garbage));
        let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n";
        assert!(refused(cut).starts_with("this is no PEM: "), "{}", refused(cut));
        let error = Trust::only_file("/nowhere/ca.pem").unwrap_err().to_string();
        assert!(error.starts_with("trust in /nowhere/ca.pem: No such file"), "{error}");
    }
}

//! Whose certificates are believed, of servers that requests are passed on to.

use std::{io, path::Path, path::PathBuf, sync::Arc};

use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio_rustls::rustls::{
    self, ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// Nobody is known whose certificates could be believed.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds no certificate that could be used.
    #[error("{path}: {why} (expected -----BEGIN CERTIFICATE-----)")]
    Pem {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The system cannot say whom it trusts.
    #[error("the system cannot say whom it trusts: {0}: say with --upstream-ca FILE whom to trust instead")]
    System(#[from] rustls::Error),
}

/// Whom the system trusts, by its own rules where it has any (`SSL_CERT_FILE` and `SSL_CERT_DIR` count on Linux).
///
/// # Errors
/// If it cannot say.
pub fn trust_system() -> Result<ClientConfig, TrustError> {
    Ok(builder().with_platform_verifier()?.with_no_client_auth())
}

/// Who signed with the CAs in this file, in PEM, and nobody else.
///
/// # Errors
/// If it cannot be read, or names nobody.
pub fn trust_file(path: &Path) -> Result<ClientConfig, TrustError> {
    let pem = std::fs::read(path).map_err(|source| TrustError::Read { path: path.to_owned(), source })?;
    trust(&pem).map_err(|why| TrustError::Pem { path: path.to_owned(), why })
}

/// Nobody: for servers that are spoken to without TLS.
#[must_use]
pub fn trust_nobody() -> ClientConfig {
    builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth()
}

/// The same, of a text.
pub(crate) fn trust(pem: &[u8]) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("this is no PEM: {error}"))?;
        roots.add(certificate).map_err(|error| format!("a certificate cannot be read: {error}"))?;
    }
    if roots.is_empty() {
        return Err("there is no certificate".to_owned());
    }
    Ok(builder().with_root_certificates(roots).with_no_client_auth())
}

fn builder() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has what these versions of TLS need")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_names_nobody_is_refused_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let error = trust_file(&path).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot read {}", path.display())), "{error}");
        std::fs::write(&path, "").unwrap();
        let error = trust_file(&path).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("{}: there is no certificate (expected -----BEGIN CERTIFICATE-----)", path.display())
        );
    }
}

//! Whom outbound connections trust: the system's authorities, and those that the operator adds.

use super::OutboundStartError;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls_platform_verifier::Verifier;
use std::path::Path;
use std::sync::Arc;

/// The settings that all connections share. Who may take up whose TLS session does not belong to them.
pub(super) fn config(ca_file: Option<&Path>) -> Result<ClientConfig, OutboundStartError> {
    let added = ca_file.map(authorities).transpose()?.unwrap_or_default();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Verifier::new_with_extra_roots(added, Arc::clone(&provider))?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        // Named so because any verifier could stand here; this one is the usual one, with more roots.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(config)
}

/// The certificates of a file; at least one.
fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, OutboundStartError> {
    let wrong = |reason: String| OutboundStartError::Authorities {
        path: path.to_owned(),
        reason,
    };
    let text = std::fs::read(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| wrong(format!("is not PEM: {error}")))?;
    if found.is_empty() {
        let reason = "holds no certificate; it must have one or more, in PEM \
                      (-----BEGIN CERTIFICATE-----)";
        return Err(wrong(reason.to_owned()));
    }
    let mut roots = rustls::RootCertStore::empty();
    for (number, certificate) in (1..).zip(&found) {
        roots.add(certificate.clone()).map_err(|error| {
            wrong(format!(
                "its certificate {number} cannot be an authority: {error}"
            ))
        })?;
    }
    Ok(found)
}

//! TLS for health checks, and the words for what can be wrong with a certificate, shared with the store's driver.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Where distributions keep the authorities that the system trusts.
pub const SYSTEM_CA: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A client that trusts exactly the authorities of a PEM file, and shows a certificate of its own where it is given one.
///
/// # Errors
/// In words: a file cannot be read, holds no certificate, or one that is broken.
pub fn trusting(ca: &Path, own: Option<(&Path, &Path)>) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(ca)?), Arc::clone(&provider))
        .build()
        .map_err(|e| format!("CA file {}: {e}", ca.display()))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_webpki_verifier(verifier);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder
            .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
            .map_err(|e| format!("{} and {} do not fit together: {e}", certificate.display(), key.display()))?,
    };
    Ok(Arc::new(config))
}

/// The key of a PEM file.
///
/// # Errors
/// In words: the file cannot be read, or holds none.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let pem = std::fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| format!("{} holds no private key in PEM", path.display()))
}

/// A client that takes any certificate, because the operator wrote `insecure = true`.
///
/// # Errors
/// Never in practice: the provider has the default versions.
pub fn trusting_anyone() -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The certificates of a PEM file.
///
/// # Errors
/// In words: the file cannot be read, holds none, or a broken one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = std::fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|e| format!("{} is not a PEM file of certificates: {e}", path.display()))?;
    if found.is_empty() {
        return Err(format!("{} holds no certificate (no BEGIN CERTIFICATE in it)", path.display()));
    }
    Ok(found)
}

fn roots(ca: &Path) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(ca)? {
        store.add(certificate).map_err(|e| format!("CA file {}: {e}", ca.display()))?;
    }
    Ok(store)
}

/// What went wrong in a handshake with `server`, and whose fault it is. `ca` names the file that was trusted.
#[must_use]
pub fn words(error: &Error, server: &str, ca: &str) -> String {
    match error {
        Error::InvalidCertificate(why) => certificate_words(why, server, ca),
        Error::InvalidMessage(_) => format!("{server} does not speak TLS there: write http:// instead of https://"),
        Error::AlertReceived(alert) => {
            let alert = format!("{alert:?}");
            match alert.as_str() {
                "CertificateRequired" => format!("{server} demands a client certificate: set `cert` and `key`"),
                "UnknownCA" | "BadCertificate" | "CertificateUnknown" | "AccessDenied" | "DecryptError" => {
                    format!(
                        "{server} refused our client certificate ({alert}): it is not signed by the authority that the server trusts"
                    )
                }
                "CertificateExpired" => format!("{server} refused our client certificate: it has expired"),
                _ => format!("{server} ended the TLS handshake: {alert}"),
            }
        }
        other => format!("TLS with {server} failed: {other}"),
    }
}

fn certificate_words(why: &CertificateError, server: &str, ca: &str) -> String {
    match why {
        // The second one is an authority of the same name with another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            format!(
                "the certificate of {server} is not signed by an authority in {ca}: give the CA file that signed it"
            )
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("the certificate of {server} has expired: renew it, or set the clock of this node")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("the certificate of {server} is not valid yet: set the clock of this node")
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            format!(
                "the certificate of {server} is for {}, not for this address: ask for it by that name, or have it issued for both",
                presented.join(", ")
            )
        }
        CertificateError::NotValidForName => format!("the certificate of {server} is for another name or address"),
        other => format!("the certificate of {server} is not acceptable: {other}"),
    }
}

/// The TLS error inside a chain of causes, if there is one.
#[must_use]
pub fn find<'a>(mut error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Error> {
    loop {
        if let Some(tls) = error.downcast_ref::<Error>() {
            return Some(tls);
        }
        // An I/O error hides what it carries from `source`.
        if let Some(inner) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref)
            && let Some(tls) = find(inner)
        {
            return Some(tls);
        }
        error = error.source()?;
    }
}

/// Takes any certificate but still checks that the server holds its key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

//! Tells from a connection's error what is wrong at the other end, and what to do about it.
//!
//! Must never show the error itself: its text may hold the address.

use rustls::CertificateError as Certificate;
use std::error::Error;
use std::io;

/// What is wrong with a connection, as far as can be told. Follows a subject: "The webhook …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Nothing listens.
    #[error("refused the connection: nothing listens at that port")]
    Refused,
    /// No connection within the time for it.
    #[error("could not be reached in time: no connection came about")]
    Late,
    /// No route, or none of the kinds that can be told.
    #[error("could not be reached")]
    Unreachable,
    /// Its certificate's time is over.
    #[error("showed a certificate that has expired; it must be renewed")]
    Expired,
    /// Its certificate's time has not come.
    #[error("showed a certificate that is not valid yet; look at its dates and at both clocks")]
    NotYetValid,
    /// Nobody known signed its certificate.
    #[error(
        "showed a certificate of an unknown issuer; use one of a public authority with its whole \
         chain, or ask the operator to add yours ([outbound] ca_file)"
    )]
    UnknownIssuer,
    /// Its certificate is an authority's.
    #[error(
        "showed a certificate that says it is an authority (self-signed, CA:TRUE), which no server may; \
         give it one of its own (CA:FALSE), and ask the operator to add who signed that \
         ([outbound] ca_file)"
    )]
    Authority,
    /// Its certificate is for another host.
    #[error(
        "showed a certificate for another host name; the address and the certificate must agree"
    )]
    WrongName,
    /// Its certificate is wrong otherwise.
    #[error("showed a certificate that cannot be accepted")]
    BadCertificate,
    /// What answered an `https` address does not speak TLS.
    #[error(
        "does not speak TLS at that port; write http:// instead of https://, or the right port"
    )]
    NotTls,
    /// TLS came to nothing.
    #[error(
        "ended the TLS handshake; if that port speaks plain HTTP, write http:// instead of https://"
    )]
    Handshake,
    /// What answered an `http` address does not speak HTTP.
    #[error(
        "answered with what is not HTTP; if that port speaks TLS, write https:// instead of http://"
    )]
    NotHttp,
    /// The same under TLS.
    #[error("answered with what is not HTTP")]
    Garbled,
    /// It said nothing.
    #[error("closed the connection without an answer")]
    Closed,
    /// It stopped in the middle.
    #[error("broke the connection")]
    Broken,
}

impl Trouble {
    /// What `error` tells of a request to an `https` address, or else an `http` one.
    pub(super) fn of(error: &reqwest::Error, https: bool) -> Self {
        let mut cause = error.source();
        while let Some(inner) = cause {
            if let Some(told) = told(inner, https) {
                return told;
            }
            cause = inner.source();
        }
        match (error.is_connect(), error.is_timeout()) {
            (true, true) => Self::Late,
            (true, false) => Self::Unreachable,
            (false, _) => Self::Broken,
        }
    }
}

fn told(error: &(dyn Error + 'static), https: bool) -> Option<Trouble> {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(of_tls(error));
    }
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return match error {
            it if it.is_parse() && https => Some(Trouble::Garbled),
            it if it.is_parse() => Some(Trouble::NotHttp),
            it if it.is_incomplete_message() => Some(Trouble::Closed),
            _ => None,
        };
    }
    let error = error.downcast_ref::<io::Error>()?;
    // What it wraps does not show as its source.
    if let Some(told) = error.get_ref().and_then(|wrapped| told(wrapped, https)) {
        return Some(told);
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Some(Trouble::Refused),
        io::ErrorKind::TimedOut => Some(Trouble::Late),
        io::ErrorKind::UnexpectedEof if https => Some(Trouble::Handshake),
        _ => None,
    }
}

fn of_tls(error: &rustls::Error) -> Trouble {
    match error {
        rustls::Error::InvalidCertificate(why) => match why {
            Certificate::Expired | Certificate::ExpiredContext { .. } => Trouble::Expired,
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
                Trouble::NotYetValid
            }
            // A known name with another key is as unknown.
            Certificate::UnknownIssuer | Certificate::BadSignature => Trouble::UnknownIssuer,
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                Trouble::WrongName
            }
            // rustls passes on an error of a crate that it does not show.
            Certificate::Other(other) if other.0.to_string() == "CaUsedAsEndEntity" => {
                Trouble::Authority
            }
            _ => Trouble::BadCertificate,
        },
        rustls::Error::InvalidMessage(_) => Trouble::NotTls,
        _ => Trouble::Handshake,
    }
}

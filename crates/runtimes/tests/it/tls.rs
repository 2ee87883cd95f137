//! What is told of connections that come to nothing, whom TLS trusts, and who shares a connection.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tollgate_core::ids::SiteId;
use tollgate_core::supervise::Supervisor;
use tollgate_runtimes::{
    Outbound, OutboundConfig, OutboundError, OutboundStartError, Request, Trouble,
};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
const SITE: SiteId = SiteId(1);

/// A private authority and its file.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

/// What a certificate says.
#[derive(Clone, Copy)]
struct Says {
    host: &'static str,
    years: (i32, i32),
}

const GOOD: Says = Says {
    host: "127.0.0.1",
    years: (2020, 4000),
};

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "Test CA");
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    fn acceptor(&self, says: Says) -> TlsAcceptor {
        let mut params = CertificateParams::new(vec![says.host.to_owned()]).unwrap();
        params.not_before = date_time_ymd(says.years.0, 1, 1);
        params.not_after = date_time_ymd(says.years.1, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], secret)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// A server that answers every request of every connection, and how many connections it had.
async fn listen(tls: Option<TlsAcceptor>) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, count) = (
        listener.local_addr().unwrap(),
        Arc::new(AtomicUsize::new(0)),
    );
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let tls = tls.clone();
            tokio::spawn(async move {
                match tls {
                    None => serve(stream).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            serve(stream).await;
                        }
                    }
                }
            });
        }
    });
    (address, count)
}

async fn serve(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
    let mut head = Vec::new();
    while stream.read_buf(&mut head).await.is_ok_and(|read| read > 0) {
        if head.starts_with(b"GET ") && head.ends_with(b"\r\n\r\n") {
            head.clear();
            stream.write_all(ANSWER).await.unwrap();
        } else if !head.starts_with(b"GET ") {
            // What a web server says to who knows what.
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            return;
        }
    }
}

fn outbound(ca_file: Option<PathBuf>) -> Outbound {
    let config = OutboundConfig {
        allow_private: true,
        ca_file,
        ..OutboundConfig::default()
    };
    Outbound::new(config, &Supervisor::default()).unwrap()
}

async fn ask(outbound: &Outbound, site: SiteId, url: &str) -> Result<u16, OutboundError> {
    let request = Request {
        method: reqwest::Method::GET,
        target: outbound.check(url).unwrap(),
        headers: reqwest::header::HeaderMap::new(),
        body: Vec::new(),
    };
    let reply = outbound.send(site, request).await?;
    let status = reply.status().as_u16();
    reply.read_up_to(100).await?;
    Ok(status)
}

async fn trouble(outbound: &Outbound, url: &str) -> Trouble {
    match ask(outbound, SITE, url).await {
        Err(OutboundError::Trouble(trouble)) => trouble,
        other => panic!("{url}: {other:?}"),
    }
}

#[tokio::test]
async fn errors_tell_what_is_wrong_with_a_certificate() {
    let authority = Authority::new();
    let known = outbound(Some(authority.file()));
    for (says, expected, word) in [
        (
            Says {
                years: (2001, 2002),
                ..GOOD
            },
            Trouble::Expired,
            "expired",
        ),
        (
            Says {
                years: (3001, 3002),
                ..GOOD
            },
            Trouble::NotYetValid,
            "not valid yet",
        ),
        (
            Says {
                host: "other.example",
                ..GOOD
            },
            Trouble::WrongName,
            "another host name",
        ),
    ] {
        let (address, _) = listen(Some(authority.acceptor(says))).await;
        let told = trouble(&known, &format!("https://{address}/")).await;
        assert_eq!(told, expected);
        assert!(told.to_string().contains(word), "{told}");
    }
    let (address, _) = listen(Some(authority.acceptor(GOOD))).await;
    let url = format!("https://{address}/");
    assert_eq!(ask(&known, SITE, &url).await.unwrap(), 200);
    let stranger = outbound(Some(Authority::new().file()));
    let told = trouble(&stranger, &url).await;
    assert_eq!(told, Trouble::UnknownIssuer);
    assert!(told.to_string().contains("ca_file"), "{told}");
}

#[tokio::test]
async fn errors_tell_closed_ports_and_the_wrong_scheme() {
    let authority = Authority::new();
    let outbound = outbound(Some(authority.file()));
    let (plain, _) = listen(None).await;
    let (secure, _) = listen(Some(authority.acceptor(GOOD))).await;
    let told = trouble(&outbound, &format!("https://{plain}/")).await;
    assert_eq!(told, Trouble::NotTls);
    assert!(told.to_string().contains("http://"), "{told}");
    let told = trouble(&outbound, &format!("http://{secure}/")).await;
    assert_eq!(told, Trouble::NotHttp);
    assert!(told.to_string().contains("https://"), "{told}");
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    for scheme in ["http", "https"] {
        let told = trouble(&outbound, &format!("{scheme}://{address}/")).await;
        assert_eq!(told, Trouble::Refused, "{scheme}");
    }
    // It takes the connection and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = silent.accept().await {
            let _ = stream.read(&mut [0; 10_000]).await;
        }
    });
    let told = trouble(&outbound, &format!("http://{address}/")).await;
    assert_eq!(told, Trouble::Closed);
    let told = trouble(&outbound, &format!("https://{address}/")).await;
    assert_eq!(told, Trouble::Handshake);
}

#[test]
fn a_file_of_authorities_that_holds_none_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let key = KeyPair::generate().unwrap().serialize_pem();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (path, word) in [
        (folder.path().join("missing.pem"), "cannot be read"),
        (folder.path().to_owned(), "cannot be read"),
        (write("empty.pem", ""), "holds no certificate"),
        (write("text.pem", "hello"), "holds no certificate"),
        (write("key.pem", &key), "holds no certificate"),
        (
            write("half.pem", "-----BEGIN CERTIFICATE-----\nAAAA"),
            "PEM",
        ),
        (write("broken.pem", broken), "certificate 1"),
    ] {
        let config = OutboundConfig {
            ca_file: Some(path.clone()),
            ..OutboundConfig::default()
        };
        let error = Outbound::new(config, &Supervisor::default()).unwrap_err();
        assert!(
            matches!(error, OutboundStartError::Authorities { .. }),
            "{error}"
        );
        let text = error.to_string();
        assert!(text.contains(word) && text.contains("ca_file"), "{text}");
        assert!(text.contains(path.to_str().unwrap()), "{text}");
    }
}

/// Each site's second request takes up its own first one's connection, and nobody else's.
#[tokio::test]
async fn no_connection_is_shared_between_sites() {
    let authority = Authority::new();
    let outbound = outbound(Some(authority.file()));
    for tls in [None, Some(authority.acceptor(GOOD))] {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (address, connections) = listen(tls).await;
        let url = format!("{scheme}://{address}/");
        for _ in 0..3 {
            for site in 1..=3 {
                assert_eq!(ask(&outbound, SiteId(site), &url).await.unwrap(), 200);
            }
        }
        assert_eq!(connections.load(Ordering::SeqCst), 3, "{scheme}");
    }
}

/// Of very many sites, those that sent something last keep their connections.
#[tokio::test]
async fn the_connections_of_sites_are_bounded() {
    let outbound = outbound(None);
    let (address, connections) = listen(None).await;
    let url = format!("http://{address}/");
    let many = i64::try_from(tollgate_core::limits::OUTBOUND_SITES).unwrap() + 1;
    for site in 1..=many {
        assert_eq!(ask(&outbound, SiteId(site), &url).await.unwrap(), 200);
    }
    let so_far = connections.load(Ordering::SeqCst);
    ask(&outbound, SiteId(many), &url).await.unwrap();
    assert_eq!(
        connections.load(Ordering::SeqCst),
        so_far,
        "the last one's is there"
    );
    ask(&outbound, SiteId(1), &url).await.unwrap();
    assert_eq!(
        connections.load(Ordering::SeqCst),
        so_far + 1,
        "the first one's is not"
    );
}

//! E16: nothing that a function sends reaches anybody.

use super::{behind, open_folder, without_namespaces};
use crate::support::{Python, function, skipped, value};
use rustix::net::{AddressFamily, Protocol, SocketAddrUnix, SocketType, ipproto};
use serde_json::json;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};

const SENDS: &str = include_str!("send_packets.py");

/// Listeners on this machine that everybody outside of the walls can reach.
struct Listeners {
    tcp: TcpListener,
    multipath: Option<TcpListener>,
    udp: UdpSocket,
    path: UnixListener,
    datagrams: UnixDatagram,
    hidden: UnixListener,
    folder: tempfile::TempDir,
    name: String,
}

impl Listeners {
    fn new() -> Self {
        let folder = open_folder("/var/tmp");
        let name = format!("tollgate-canary-{}", folder.path().display());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listeners = Self {
            tcp: TcpListener::bind("127.0.0.1:0").unwrap(),
            multipath: multipath(),
            udp: UdpSocket::bind("127.0.0.1:0").unwrap(),
            path: UnixListener::bind(folder.path().join("stream")).unwrap(),
            datagrams: UnixDatagram::bind(folder.path().join("datagrams")).unwrap(),
            hidden: UnixListener::bind_addr(&address).unwrap(),
            folder,
            name,
        };
        for name in ["stream", "datagrams"] {
            let all = std::fs::Permissions::from_mode(0o777);
            std::fs::set_permissions(listeners.folder.path().join(name), all).unwrap();
        }
        listeners.tcp.set_nonblocking(true).unwrap();
        listeners.udp.set_nonblocking(true).unwrap();
        listeners.path.set_nonblocking(true).unwrap();
        listeners.datagrams.set_nonblocking(true).unwrap();
        listeners.hidden.set_nonblocking(true).unwrap();
        listeners
    }

    /// Nobody came, and nothing did.
    fn heard_nothing(&self) {
        fn nothing<T>(what: &str, outcome: io::Result<T>) {
            let kind = outcome.map(drop).map_err(|error| error.kind());
            assert_eq!(kind, Err(ErrorKind::WouldBlock), "{what}");
        }
        nothing("tcp", self.tcp.accept());
        if let Some(multipath) = &self.multipath {
            nothing("mptcp", multipath.accept());
        }
        nothing("udp", self.udp.recv(&mut [0; 64]));
        nothing("unix path", self.path.accept());
        nothing("unix datagrams", self.datagrams.recv(&mut [0; 64]));
        nothing("abstract", self.hidden.accept());
    }
}

fn multipath() -> Option<TcpListener> {
    let made = rustix::net::socket(
        AddressFamily::INET,
        SocketType::STREAM,
        Some(Protocol::from_raw(ipproto::MPTCP.as_raw())),
    );
    let socket = match made {
        Ok(socket) => socket,
        Err(error) => {
            skipped(&format!("no MPTCP listener: {error}"));
            return None;
        }
    };
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    rustix::net::listen(&socket, 8).unwrap();
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true).unwrap();
    Some(listener)
}

async fn nothing_arrives(python: &Python) {
    let listeners = Listeners::new();
    let multipath = listeners
        .multipath
        .as_ref()
        .map(|it| it.local_addr().unwrap().port());
    let params = json!({
        "tcp": listeners.tcp.local_addr().unwrap().port(),
        "mptcp": multipath,
        "udp": listeners.udp.local_addr().unwrap().port(),
        "folder": listeners.folder.path(),
        "abstract": listeners.name,
    });
    let seen = value(&python.call(&function(SENDS), params).await);
    listeners.heard_nothing();
    let ways = seen.as_object().unwrap();
    assert!(ways.len() > 15, "{seen}");
    for (way, outcome) in ways {
        let refused = outcome
            .as_str()
            .is_some_and(|text| text.starts_with("refused"));
        assert!(refused, "{way}: {outcome}");
    }
    // The canaries do sing when they are reached.
    let reach = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    let path = SocketAddrUnix::new(listeners.folder.path().join("stream")).unwrap();
    rustix::net::connect(&reach, &path).unwrap();
    listeners.path.accept().unwrap();
}

#[tokio::test]
async fn no_packet_reaches_a_listener() {
    let Some(python) = behind(&[]).await else {
        return;
    };
    nothing_arrives(&python).await;
}

#[tokio::test]
async fn nor_where_there_are_no_namespaces() {
    let Some(python) = without_namespaces().await else {
        return;
    };
    nothing_arrives(&python).await;
}

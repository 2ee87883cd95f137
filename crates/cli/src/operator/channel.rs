//! The socket in the data folder: one request and one answer for each connection, a line of JSON each.

use super::{Operator, Request};
use crate::AnyError;
use rustix::fs::{Mode, OFlags};
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tollgate_core::failpoint::{self, Point};
use tollgate_core::supervise::Supervisor;

const SOCKET: &str = "admin.sock";
/// A longer path does not fit into a socket's address.
const PATH_BYTES: usize = 100;
/// No request is longer.
const REQUEST_BYTES: u64 = 64 * 1024;
/// How long a client may take to send its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Done(Value),
    Refused(String),
}

/// The path of the socket, short enough, and what keeps it valid.
fn socket(data_dir: &Path) -> io::Result<(PathBuf, Option<OwnedFd>)> {
    let path = data_dir.join(SOCKET);
    if path.as_os_str().len() <= PATH_BYTES {
        return Ok((path, None));
    }
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::PATH;
    let folder = rustix::fs::open(data_dir, flags, Mode::empty())?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd());
    Ok((path.into(), Some(folder)))
}

/// Asks the server that uses a folder; none when none does.
pub(super) async fn ask(data_dir: &Path, request: &Request) -> Result<Option<Value>, AnyError> {
    let Ok((path, _folder)) = socket(data_dir) else {
        return Ok(None);
    };
    let mut stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        // None was made, or it is what a dead server has left.
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => return Ok(None),
            _ => {
                return Err(
                    format!("cannot ask the server through {}: {error}", path.display()).into(),
                );
            }
        },
    };
    let owner = stream.peer_cred()?.uid();
    let me = geteuid().as_raw();
    if ![0, me].contains(&owner) && me != 0 {
        return Err(format!(
            "{} is answered by user {owner}; nothing was sent",
            path.display()
        )
        .into());
    }
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    match serde_json::from_str(&text) {
        Ok(Answer::Done(value)) => Ok(Some(value)),
        Ok(Answer::Refused(message)) => Err(message.into()),
        Err(_) => Err("the server stopped before it had answered; look whether it was done".into()),
    }
}

/// So many requests are open at once; further ones wait.
const OPEN_MAX: usize = 32;
/// How long requests that were begun may take to be let go.
const LETTING_GO: Duration = Duration::from_secs(1);

/// The server's end of the socket.
pub(crate) struct Channel {
    supervisor: Supervisor,
    path: PathBuf,
}

impl Channel {
    /// Listens in the data folder. The folder's lock is this process's: what lies there is left over.
    pub(crate) fn open(
        data_dir: &Path,
        operator: Operator,
        supervisor: &Supervisor,
    ) -> io::Result<Self> {
        let (path, folder) = socket(data_dir)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        drop(folder);
        let supervisor = supervisor.group();
        let accepting = accept(listener, Arc::new(operator), supervisor.clone());
        supervisor.spawn("operator", accepting);
        let path = data_dir.join(SOCKET);
        Ok(Self { supervisor, path })
    }

    /// Takes nothing more, and waits until what was begun has been let go.
    pub(crate) async fn close(self) {
        // A server that starts next finds nothing in its way either.
        let _ = fs::remove_file(&self.path);
        self.supervisor.stop();
        self.supervisor.joined(LETTING_GO).await;
    }
}

async fn accept(listener: UnixListener, operator: Arc<Operator>, supervisor: Supervisor) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            () = supervisor.stopped() => break,
            accepted = listener.accept(), if open.len() < OPEN_MAX => match accepted {
                Ok((stream, _)) => {
                    failpoint::hit(Point::LoopOperator);
                    let operator = Arc::clone(&operator);
                    open.spawn(async move {
                        if let Err(error) = answer(stream, &operator).await {
                            tracing::warn!(%error, "a request through the data folder's socket failed");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the data folder's socket does not accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = open.join_next() => {}
        }
    }
    open.shutdown().await;
}

async fn answer(stream: UnixStream, operator: &Operator) -> io::Result<()> {
    let user = stream.peer_cred()?.uid();
    let (reader, mut writer) = stream.into_split();
    let answer = if [0, geteuid().as_raw()].contains(&user) {
        let mut line = Vec::new();
        let mut reader = BufReader::new(reader.take(REQUEST_BYTES));
        let read = reader.read_until(b'\n', &mut line);
        tokio::time::timeout(REQUEST_TIMEOUT, read).await??;
        match serde_json::from_slice::<Request>(&line) {
            Ok(request) => match operator.perform(&request).await {
                Ok(value) => Answer::Done(value),
                Err(error) => Answer::Refused(error.to_string()),
            },
            Err(error) => Answer::Refused(format!(
                "the server does not understand this command ({error}); is it of another version?"
            )),
        }
    } else {
        Answer::Refused("only the user of the server, and root, may ask this".to_owned())
    };
    writer.write_all(&serde_json::to_vec(&answer)?).await?;
    writer.shutdown().await
}

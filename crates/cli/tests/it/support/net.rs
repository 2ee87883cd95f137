//! The other side of webhooks: a listener that nobody may reach, and a name server that lies.

use super::soon;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const A: u16 = 1;
const AAAA: u16 = 28;

/// Counts who connects to it, and answers nobody.
pub(crate) struct Canary {
    pub(crate) address: SocketAddr,
    reached: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

impl Canary {
    pub(crate) async fn at(address: IpAddr) -> Self {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (count, reached) = watch::channel(0);
        let task = tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                count.send_modify(|reached| *reached += 1);
            }
        });
        Self {
            address,
            reached,
            task,
        }
    }

    /// Fails if anybody has ever connected. Connects itself: what came before it in the listener's
    /// queue is counted by then.
    pub(crate) async fn untouched(mut self) {
        drop(TcpStream::connect(self.address).await.unwrap());
        let counted = self.reached.wait_for(|reached| *reached > 0);
        soon("the canary's own visitor", counted).await.unwrap();
        assert_eq!(*self.reached.borrow(), 1, "the canary was reached");
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers with what it was told to, and counts how often it was asked for the first time.
pub(crate) struct Names {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<HashMap<String, usize>>>,
    task: JoinHandle<()>,
}

impl Names {
    /// `answers` gives the addresses of a name at its first, second, … look-up. They may be kept
    /// for no time at all.
    pub(crate) async fn serving(
        answers: impl Fn(&str, usize) -> Vec<IpAddr> + Send + 'static,
    ) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let asked: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
        let seen = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            let mut buffer = [0; 1500];
            let mut times: HashMap<(String, u16), usize> = HashMap::new();
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let (name, kind, question) = question(&buffer[..length]);
                let time = times.entry((name.clone(), kind)).or_default();
                *time += 1;
                {
                    let mut asked = seen.lock().unwrap();
                    let most = asked.entry(name.clone()).or_default();
                    *most = (*most).max(*time);
                }
                let reply = reply(&buffer[..2], question, kind, &answers(&name, *time));
                socket.send_to(&reply, from).await.unwrap();
            }
        });
        Self {
            address,
            asked,
            task,
        }
    }

    /// How many look-ups of `name` there were.
    pub(crate) fn asked(&self, name: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.get(name).copied().unwrap_or_default()
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The name, the type and the bytes of a message's one question.
fn question(message: &[u8]) -> (String, u16, &[u8]) {
    let (mut at, mut labels) = (12, Vec::new());
    while message[at] > 0 {
        let end = at + 1 + usize::from(message[at]);
        labels.push(String::from_utf8(message[at + 1..end].to_vec()).unwrap());
        at = end;
    }
    let kind = u16::from_be_bytes([message[at + 1], message[at + 2]]);
    let name = labels.join(".").to_lowercase();
    (name, kind, &message[12..at + 5])
}

fn reply(id: &[u8], question: &[u8], kind: u16, addresses: &[IpAddr]) -> Vec<u8> {
    let records: Vec<Vec<u8>> = addresses
        .iter()
        .filter_map(|address| match (address, kind) {
            (IpAddr::V4(address), A) => Some(address.octets().to_vec()),
            (IpAddr::V6(address), AAAA) => Some(address.octets().to_vec()),
            _ => None,
        })
        .collect();
    let count = u16::try_from(records.len()).unwrap().to_be_bytes();
    let mut reply = id.to_vec();
    // An answer without an error; one question, the records, nothing more.
    reply.extend([0x81, 0x80, 0, 1, count[0], count[1], 0, 0, 0, 0]);
    reply.extend(question);
    for record in records {
        // The question's name, the type, the internet, no time at all.
        reply.extend([0xc0, 12]);
        reply.extend(kind.to_be_bytes());
        reply.extend([0, 1, 0, 0, 0, 0]);
        reply.extend(u16::try_from(record.len()).unwrap().to_be_bytes());
        reply.extend(record);
    }
    reply
}

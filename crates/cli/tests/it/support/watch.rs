//! The stream of changes of runs: the signal that tests wait for.

use super::api::Api;
use super::soon;
use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::Value;
use std::pin::Pin;

type Chunks = Pin<Box<dyn futures_util::Stream<Item = reqwest::Result<Vec<u8>>> + Send>>;

/// An open stream and what it has told so far.
pub(crate) struct Watch {
    api: Api,
    chunks: Chunks,
    pending: Vec<u8>,
    seen: Vec<(i64, String)>,
}

impl Watch {
    /// Every change after this is seen.
    pub(crate) async fn open(api: &Api) -> Self {
        let request = api.request(Method::GET, "/api/invocations/stream/").send();
        let answer = soon("the stream", request).await.unwrap();
        assert_eq!(answer.status(), 200);
        let chunks = answer
            .bytes_stream()
            .map(|chunk| chunk.map(|bytes| bytes.to_vec()));
        let (pending, seen) = (Vec::new(), Vec::new());
        Self {
            api: api.clone(),
            chunks: Box::pin(chunks),
            pending,
            seen,
        }
    }

    /// Waits until a run is in this state.
    pub(crate) async fn state(&mut self, id: i64, state: &str) {
        let what = format!("run {id} in state {state}");
        soon(&what, async {
            while !self
                .seen
                .iter()
                .any(|(seen, is)| *seen == id && is == state)
            {
                assert!(self.more().await, "the stream ended before {what}");
            }
        })
        .await;
    }

    /// Waits until a run has ended, which it may have done before this stream, and gives its record.
    pub(crate) async fn ended(&mut self, id: i64) -> Value {
        soon(&format!("the end of run {id}"), async {
            loop {
                let invocation = self.api.invocation(id).await;
                if matches!(invocation["status"].as_str(), Some("SUCCESS" | "FAILURE")) {
                    return invocation;
                }
                let known = self.seen.len();
                while !self.seen[known..].iter().any(|(seen, _)| *seen == id) {
                    assert!(self.more().await, "the stream ended before run {id}");
                }
            }
        })
        .await
    }

    /// Waits until the server closes the stream, which it does first of all when it stops.
    pub(crate) async fn closed(mut self) {
        soon("the end of the stream", async {
            while self.more().await {}
        })
        .await;
    }

    /// Waits until something more is told, whatever it is; false at the end.
    pub(crate) async fn pulse(&mut self) -> bool {
        soon("a change", self.chunks.next())
            .await
            .is_some_and(|chunk| chunk.is_ok())
    }

    /// Reads on; false at the end.
    async fn more(&mut self) -> bool {
        let Some(Ok(chunk)) = self.chunks.next().await else {
            return false;
        };
        self.pending.extend_from_slice(&chunk);
        while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            assert_ne!(line, b"event: lost\n", "the stream lost changes");
            let Some(data) = line.strip_prefix(b"data:") else {
                continue;
            };
            let change: Value = serde_json::from_slice(data).unwrap();
            let state = change["state"].as_str().unwrap().to_owned();
            self.seen.push((change["id"].as_i64().unwrap(), state));
        }
        true
    }
}

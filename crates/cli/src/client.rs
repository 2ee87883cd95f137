//! The commands' way to a running server: plain requests, the server's own error messages.

use crate::args::Remote;
use crate::bootstrap::local_access;
use crate::config::Config;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A server and a key for it. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    api_key: String,
}

/// The server said no.
#[derive(Debug, thiserror::Error)]
#[error("{message} ({code}, HTTP {status})")]
pub(crate) struct Refused {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The error code.
    pub(crate) code: String,
    /// What to do about it.
    pub(crate) message: String,
    /// The whole answer.
    pub(crate) body: Value,
}

impl Client {
    /// The server named by flags or environment, else the one that uses the data folder.
    pub(crate) fn new(config: &Config, remote: &Remote) -> Result<Self, Error> {
        let local = local_access(&config.data_dir);
        let missing = || {
            let dir = config.data_dir.display();
            format!(
                "no server has started in {dir}; start one, or name it with --url and --api-key"
            )
        };
        let url = remote
            .url
            .clone()
            .or_else(|| Some(local.as_ref()?.url.clone()));
        // The folder's key belongs to the folder's server alone.
        let key = match &remote.url {
            Some(_) => remote.api_key.clone(),
            None => remote
                .api_key
                .clone()
                .or_else(|| Some(local.as_ref()?.api_key.clone())),
        };
        Ok(Self {
            http: reqwest::Client::new(),
            url: url.ok_or_else(missing)?.trim_end_matches('/').to_owned(),
            api_key: key.ok_or("name an API key with --api-key or TOLLGATE_API_KEY")?,
        })
    }

    /// A request with the credential.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.url))
            .header("Authorization", format!("Api-Key {}", self.api_key))
    }

    /// Sends a request and reads the JSON answer.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Value, Error> {
        let answer = request
            .send()
            .await
            .map_err(|error| format!("{} does not answer: {}", self.url, root_cause(&error)))?;
        let status = answer.status();
        let body: Value = answer.json().await.unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(body);
        }
        let text = |key: &str| body[key].as_str().unwrap_or("no message").to_owned();
        let (code, message) = (text("code"), text("message") + &place(&body));
        Err(Refused {
            status: status.as_u16(),
            code,
            message,
            body,
        }
        .into())
    }

    /// GETs a path.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, Error> {
        self.send(self.request(Method::GET, path)).await
    }

    /// Sends a JSON body.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, Error> {
        self.send(self.request(Method::POST, path).json(body)).await
    }
}

/// Where in the code the first error is, if the server says so.
fn place(body: &Value) -> String {
    let error = &body["errors"][0];
    if error["field"] != "code" {
        // Other messages name the place themselves.
        return String::new();
    }
    match (error["line"].as_u64(), error["column"].as_u64()) {
        (Some(line), Some(column)) => format!(", line {line}, column {column}"),
        (Some(line), None) => format!(", line {line}"),
        _ => String::new(),
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

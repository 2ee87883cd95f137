//! The commands' way to a running server: plain requests, the server's own error messages.

use crate::AnyError;
use crate::access::{LocalAccess, SiteAccess};
use crate::args::Remote;
use crate::config::{Address, Config};
use crate::operator::{self, Request};
use crate::terminal::Terminal;
use crate::terminal::json;
use reqwest::header::HOST;
use reqwest::{Method, RequestBuilder};
use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use std::time::Duration;
use tollgate_core::auth::DEFAULT_SITE;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A server and a key for it. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    host: Option<String>,
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
    pub(crate) body: Answer,
}

/// The server cannot be reached.
#[derive(Debug, thiserror::Error)]
#[error("{url} does not answer: {reason}")]
pub(crate) struct Silent {
    url: String,
    reason: String,
}

/// An answer as it came: numbers are exact in its text only.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) value: Value,
}

impl Serialize for Answer {
    /// Digit by digit.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text: &RawValue = serde_json::from_str(&self.text).map_err(S::Error::custom)?;
        text.serialize(serializer)
    }
}

impl Answer {
    /// Of a text; what is no JSON has no value.
    pub(crate) fn of(text: String) -> Self {
        Self::read(text).unwrap_or_else(|text| Self {
            text,
            value: Value::Null,
        })
    }

    /// What is JSON; the text again if it is not.
    fn read(text: String) -> Result<Self, String> {
        match json::value(&text) {
            Some(value) => Ok(Self { text, value }),
            None => Err(text),
        }
    }

    /// A part of it; null if there is none.
    pub(crate) fn at(&self, path: &[&str]) -> Self {
        Self::of(self.part(path).to_owned())
    }

    /// The same with another value of a member, or without it.
    pub(crate) fn with(&self, name: &str, value: Option<&str>) -> Self {
        Self::of(json::with(&self.text, name, value))
    }

    /// The text of a part, digit by digit.
    pub(crate) fn part(&self, path: &[&str]) -> &str {
        json::part(&self.text, path).unwrap_or("null")
    }

    /// The items of the list in `data`, each with its text.
    pub(crate) fn items(&self) -> Vec<Self> {
        self.items_at(&["data"])
    }

    /// The items of a list.
    pub(crate) fn items_at(&self, path: &[&str]) -> Vec<Self> {
        let items = json::items(self.part(path));
        items
            .into_iter()
            .map(|text| Self::of(text.to_owned()))
            .collect()
    }
}

impl Client {
    /// The server named by flags or environment, else the one that uses the data folder.
    pub(crate) async fn new(
        config: &Config,
        remote: &Remote,
        terminal: &Terminal,
    ) -> Result<Self, AnyError> {
        let Address { url, api_key } = Address::of_environment();
        if remote.api_key.is_some() {
            terminal.warn(
                "--api-key stands in the shell's history and in the list of processes; \
                 TOLLGATE_API_KEY does not",
            );
        }
        let given = remote.api_key.clone().or(api_key);
        // Whoever names a site means the server of this folder.
        let url = remote.url.clone().or(url).filter(|_| remote.site.is_none());
        if let Some(url) = url {
            // The folder's key belongs to the folder's server alone.
            let api_key = given.ok_or("name an API key in TOLLGATE_API_KEY, or with --api-key")?;
            return Ok(Self {
                http: reqwest::Client::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .build()?,
                url: url.trim_end_matches('/').to_owned(),
                host: None,
                api_key,
            });
        }
        let slug = remote.site.as_deref().unwrap_or(DEFAULT_SITE);
        let (url, SiteAccess { api_key, host }) = local(config, slug).await?;
        // It is on this machine: no proxy is asked.
        let http = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT);
        Ok(Self {
            http: http.build()?,
            url,
            host,
            api_key: given.unwrap_or(api_key),
        })
    }

    /// A request with the credential.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.url))
            .header("Authorization", format!("Api-Key {}", self.api_key));
        if let Some(host) = &self.host {
            request = request.header(HOST, host);
        }
        request
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn begin(
        &self,
        request: RequestBuilder,
    ) -> Result<reqwest::Response, AnyError> {
        let answer = request.send().await.map_err(|error| self.silent(&error))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let body = Answer::of(answer.text().await.unwrap_or_default());
        Err(refused(status.as_u16(), body).into())
    }

    /// Sends a request and reads the JSON answer.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Answer, AnyError> {
        let answer = self.begin(request).await?;
        let text = answer.text().await.map_err(|error| self.silent(&error))?;
        Answer::read(text)
            .map_err(|_| format!("{} answered with something else than JSON", self.url).into())
    }

    fn silent(&self, error: &reqwest::Error) -> Silent {
        Silent {
            url: self.url.clone(),
            reason: root_cause(error),
        }
    }

    /// GETs a path.
    pub(crate) async fn get(&self, path: &str) -> Result<Answer, AnyError> {
        self.send(self.request(Method::GET, path)).await
    }

    /// GETs a path with a query.
    pub(crate) async fn find(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Answer, AnyError> {
        self.send(self.request(Method::GET, path).query(query))
            .await
    }

    /// Sends a JSON body.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Answer, AnyError> {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// DELETEs a path.
    pub(crate) async fn delete(&self, path: &str) -> Result<Answer, AnyError> {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// All items of a list, page by page, at most `most`.
    pub(crate) async fn all(
        &self,
        path: &str,
        query: &[(&str, &str)],
        most: usize,
    ) -> Result<Listed, AnyError> {
        let mut listed = Listed::default();
        while listed.items.len() < most {
            // Records may be large.
            let limit = (most - listed.items.len()).min(PAGE).to_string();
            let offset = listed.items.len().to_string();
            let page = [("limit", limit.as_str()), ("offset", offset.as_str())];
            let answer = self.find(path, &[query, &page].concat()).await?;
            let items = answer.items();
            let got = items.len();
            listed.total = answer.value["total"].as_u64().unwrap_or(got as u64);
            listed.items.extend(items);
            if got == 0 || listed.items.len() as u64 >= listed.total {
                break;
            }
        }
        Ok(listed)
    }
}

/// Items of a page.
const PAGE: usize = 50;

/// Part of a list.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    pub(crate) items: Vec<Answer>,
    /// How many there are in all.
    pub(crate) total: u64,
}

/// The server of the data folder and the way into one of its sites.
async fn local(config: &Config, slug: &str) -> Result<(String, SiteAccess), AnyError> {
    let dir = &config.data_dir;
    let missing = || {
        let dir = dir.display();
        format!(
            "no server has started in {dir}; start one, or name it with --url and TOLLGATE_API_KEY"
        )
    };
    let access = LocalAccess::read(dir)?.ok_or_else(missing)?;
    if let Some(way) = access.site(slug) {
        return Ok((access.url, way));
    }
    operator::ask(
        config,
        &Request::Access {
            site: slug.to_owned(),
        },
    )
    .await?;
    let access = LocalAccess::read(dir)?.ok_or_else(missing)?;
    let way = access
        .site(slug)
        .ok_or("the server kept no key for the site")?;
    Ok((access.url, way))
}

fn refused(status: u16, body: Answer) -> Refused {
    let text = |key: &str| body.value[key].as_str().unwrap_or("no message").to_owned();
    let (code, message) = (text("code"), text("message") + &place(&body.value));
    Refused {
        status,
        code,
        message,
        body,
    }
}

/// The HTTP status of a refusal.
pub(crate) fn status(error: &AnyError) -> Option<u16> {
    error
        .downcast_ref::<Refused>()
        .map(|refused| refused.status)
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

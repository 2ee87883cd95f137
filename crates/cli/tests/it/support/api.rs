//! Requests, raw: what the tests send is what stands in the API document.

use super::soon;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

/// A server's address with a credential.
#[derive(Clone)]
pub(crate) struct Api {
    http: reqwest::Client,
    pub(crate) url: String,
    credential: Option<String>,
    host: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    /// It says that it was given before.
    pub(crate) replayed: bool,
}

impl Answer {
    /// The body of a success.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert!(self.status < 300, "{self:?}");
        self.body
    }

    /// The message of a refusal with this status and code.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> &str {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.body["code"], code, "{self:?}");
        assert_eq!(self.body["success"], false, "{self:?}");
        self.body["message"].as_str().unwrap()
    }
}

impl Api {
    pub(crate) fn new(url: &str, credential: Option<String>) -> Self {
        // No proxy: the address is this machine's, whatever the environment says.
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self {
            http,
            url: url.to_owned(),
            credential,
            host: None,
        }
    }

    /// The same server for somebody at another address of this machine, without a credential.
    pub(crate) fn seen_from(&self, address: std::net::IpAddr) -> Self {
        let http = reqwest::Client::builder().no_proxy().local_address(address);
        Self {
            http: http.build().unwrap(),
            credential: None,
            ..self.clone()
        }
    }

    /// The same server for someone else.
    pub(crate) fn with(&self, credential: &str) -> Self {
        Self {
            credential: Some(credential.to_owned()),
            ..self.clone()
        }
    }

    /// What stands in `Authorization`.
    pub(crate) fn credential(&self) -> &str {
        self.credential.as_deref().unwrap()
    }

    /// The same server for nobody.
    pub(crate) fn anonymous(&self) -> Self {
        Self {
            credential: None,
            ..self.clone()
        }
    }

    /// The same server under another host name.
    pub(crate) fn at(&self, host: &str) -> Self {
        Self {
            host: Some(host.to_owned()),
            ..self.clone()
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(credential) = &self.credential {
            request = request.header("authorization", credential);
        }
        if let Some(host) = &self.host {
            request = request.header("host", host);
        }
        request
    }

    async fn send(&self, request: RequestBuilder) -> Answer {
        self.try_send(request).await.unwrap()
    }

    /// The answer, or what became of the connection instead.
    pub(crate) async fn try_send(&self, request: RequestBuilder) -> reqwest::Result<Answer> {
        let exchange = async {
            let answer = request.send().await?;
            let status = answer.status().as_u16();
            let replayed = answer.headers().get("idempotent-replayed").is_some();
            let text = answer.text().await?;
            let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
            Ok(Answer {
                status,
                body,
                replayed,
            })
        };
        soon("an answer", exchange).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// A POST with an `Idempotency-Key`; the connection may break instead of answering.
    pub(crate) async fn post_once(
        &self,
        path: &str,
        key: &str,
        body: &Value,
    ) -> reqwest::Result<Answer> {
        let request = self.request(Method::POST, path).json(body);
        self.try_send(request.header("idempotency-key", key)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    pub(crate) async fn app(&self, slug: &str) {
        self.post("/api/apps/", &json!({"name": slug, "slug": slug}))
            .await
            .ok();
    }

    /// Creates a function in `app`; `options` are merged into the request.
    pub(crate) async fn function(&self, app: &str, name: &str, code: &str, options: &Value) -> i64 {
        let mut body = json!({
            "name": name, "slug": name, "code": code,
            "execution_mode": "app", "environment": "python",
        });
        for (key, value) in options.as_object().unwrap() {
            body[key] = value.clone();
        }
        let created = self
            .post(&format!("/api/apps/{app}/functions/"), &body)
            .await
            .ok();
        created["id"].as_i64().unwrap()
    }

    /// Creates a proxy function in `app` and gives the whole answer.
    pub(crate) async fn proxy(&self, app: &str, name: &str, url: &str, options: &Value) -> Answer {
        let mut body = json!({
            "name": name, "slug": name, "execution_mode": "proxy", "webhook_url": url,
        });
        for (key, value) in options.as_object().unwrap() {
            body[key] = value.clone();
        }
        let path = format!("/api/apps/{app}/functions/");
        self.post(&path, &body).await
    }

    pub(crate) async fn subscribe(&self, event: &str, function: i64) {
        let path = format!("/api/cloud/events/{event}/subscribe/");
        self.post(&path, &json!({"function_id": function}))
            .await
            .ok();
    }

    pub(crate) async fn execute(&self, app: &str, function: &str, body: &Value) -> Answer {
        self.post(
            &format!("/api/apps/{app}/functions/{function}/execute/"),
            body,
        )
        .await
    }

    /// Queues a run and gives its record's number.
    pub(crate) async fn queue(&self, app: &str, function: &str) -> i64 {
        let queued = self
            .execute(app, function, &json!({"async": true}))
            .await
            .ok();
        queued["invocation"]["id"].as_i64().unwrap()
    }

    pub(crate) async fn create_user(&self, name: &str) -> Answer {
        let body = json!({"username": name, "email": format!("{name}@example.com")});
        self.post("/api/users/", &body).await
    }

    pub(crate) async fn invocation(&self, id: i64) -> Value {
        self.get(&format!("/api/invocations/{id}/")).await.ok()
    }

    /// All runs of a function, of which there are less than a page.
    pub(crate) async fn runs_of(&self, function: &str) -> Vec<Value> {
        let path = format!("/api/invocations/?function_slug={function}&limit=100");
        let listed = self.get(&path).await.ok();
        let runs = listed["data"].as_array().unwrap().clone();
        assert_eq!(listed["total"], runs.len());
        runs
    }

    /// Signs in and gives a bearer credential.
    pub(crate) async fn sign_in(&self, email: &str, password: &str) -> Answer {
        let body = json!({"username": email, "password": password});
        self.anonymous().post("/api/auth/jwt/token/", &body).await
    }
}

/// The credential that a sign-in gave.
#[track_caller]
pub(crate) fn bearer(signed_in: Answer) -> String {
    format!("Bearer {}", signed_in.ok()["access"].as_str().unwrap())
}

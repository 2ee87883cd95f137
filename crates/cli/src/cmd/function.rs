//! `tollgate function`: deploy, run, logs.

use super::function_run::{self, RunRequest};
use super::invocations::line;
use crate::CommandResult;
use crate::args::{Function, Remote};
use crate::client::{Client, Refused};
use crate::config::Config;
use reqwest::Method;
use serde_json::{Value, json};
use std::path::Path;
use tollgate_core::text::slugify;

pub(super) async fn run(config: &Config, command: Function) -> CommandResult {
    match command {
        Function::Deploy {
            file,
            app,
            name,
            subscribe,
            timeout,
            remote,
        } => {
            let client = Client::new(config, &remote)?;
            let deploy = Deploy {
                client: &client,
                app: &app,
                remote: &remote,
            };
            deploy.deploy(&file, name, timeout, &subscribe).await
        }
        Function::Run {
            function,
            app,
            event,
            params,
            egress,
            remote,
        } => {
            let request = RunRequest {
                function,
                app,
                event,
                params,
                egress,
            };
            function_run::run(config, request, &remote).await
        }
        Function::Logs {
            function,
            limit,
            remote,
        } => logs(config, &function, limit, &remote).await,
    }
}

struct Deploy<'a> {
    client: &'a Client,
    app: &'a str,
    remote: &'a Remote,
}

impl Deploy<'_> {
    async fn deploy(
        &self,
        file: &Path,
        name: Option<String>,
        timeout: Option<f64>,
        subscribe: &[String],
    ) -> CommandResult {
        let code = std::fs::read_to_string(file)
            .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        let stem = file
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned());
        let name = name.unwrap_or_else(|| title(&stem.unwrap_or_default()));
        self.ensure_app().await?;
        let function = self.put(&name, &code, timeout).await?;
        for event in subscribe {
            self.subscribe(event, &function["id"]).await?;
        }
        if self.remote.json {
            println!("{}", serde_json::to_string_pretty(&function)?);
        } else {
            println!(
                "deployed {} version {} (function {})",
                function["slug"].as_str().unwrap_or_default(),
                function["version"],
                function["id"]
            );
        }
        Ok(())
    }

    async fn ensure_app(&self) -> CommandResult {
        let body = json!({"name": self.app, "slug": self.app});
        match self.client.get(&format!("/api/apps/{}/", self.app)).await {
            Err(error) if status(&*error) == Some(404) => {
                self.client.post("/api/apps/", &body).await.map(drop)
            }
            other => other.map(drop),
        }
    }

    /// A new function, or a new version of the one with this slug.
    async fn put(
        &self,
        name: &str,
        code: &str,
        timeout: Option<f64>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let base = format!("/api/apps/{}/functions/", self.app);
        let mut body = json!({"code": code});
        if let Some(seconds) = timeout {
            body["timeout_seconds"] = json!(seconds);
        }
        let change = self
            .client
            .request(Method::PATCH, &format!("{base}{}/", slugify(name)))
            .json(&body);
        match self.client.send(change).await {
            Err(error) if status(&*error) == Some(404) => {
                body["name"] = json!(name);
                body["environment"] = json!("python");
                body["execution_mode"] = json!("app");
                self.client.post(&base, &body).await
            }
            other => other,
        }
    }

    async fn subscribe(&self, event: &str, function: &Value) -> CommandResult {
        let path = format!("/api/cloud/events/{event}/subscribe/");
        match self
            .client
            .post(&path, &json!({"function_id": function}))
            .await
        {
            // Deploying a second time finds the subscription in place.
            Err(error) if status(&*error) == Some(400) && error.to_string().contains("already") => {
                Ok(())
            }
            other => other.map(drop),
        }
    }
}

fn status(error: &(dyn std::error::Error + 'static)) -> Option<u16> {
    error
        .downcast_ref::<Refused>()
        .map(|refused| refused.status)
}

/// `validate_user_data` → `Validate User Data`.
fn title(stem: &str) -> String {
    let words = stem
        .split(['_', '-', ' '])
        .filter(|word| !word.is_empty())
        .map(|word| {
            let mut letters = word.chars();
            letters.next().map_or_else(String::new, |first| {
                first.to_uppercase().chain(letters).collect::<String>()
            })
        });
    words.collect::<Vec<_>>().join(" ")
}

async fn logs(config: &Config, function: &str, limit: u32, remote: &Remote) -> CommandResult {
    let client = Client::new(config, remote)?;
    let path = format!("/api/invocations/?function_slug={function}&limit={limit}");
    let listed = client.get(&path).await?;
    let newest_first = listed["data"].as_array().cloned().unwrap_or_default();
    for summary in newest_first.iter().rev() {
        let invocation = client
            .get(&format!("/api/invocations/{}/", summary["id"]))
            .await?;
        if remote.json {
            println!("{invocation}");
            continue;
        }
        println!("{}", line(&invocation));
        print_logs(&invocation);
    }
    Ok(())
}

/// A run's log lines, indented.
pub(super) fn print_logs(invocation: &Value) {
    for entry in invocation["logs"].as_array().into_iter().flatten() {
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        println!("    {:<7} {}", text("level"), text("message"));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_file_name_becomes_a_name() {
        assert_eq!(super::title("validate_user_data"), "Validate User Data");
        assert_eq!(super::title("x"), "X");
        assert_eq!(super::title(""), "");
    }
}

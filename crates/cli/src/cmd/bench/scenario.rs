//! What is subscribed while the load runs.

use super::load;
use super::report::FirstSignUps;
use super::target::{Error, Target, elapsed};
use crate::CommandResult;
use serde_json::json;
use tokio::task::JoinSet;
use tollgate_core::time::{Clock as _, SystemClock};

/// Deployments whose first sign-up is timed.
const DEPLOYMENTS: u64 = 40;

/// A real check, with a regular expression, as sign-up pages have it.
const PRE: &str = r#"
import re

EMAIL = re.compile(r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$")


def main(params):
    if not EMAIL.match(params["email"]):
        return {"success": False, "error": "not an address"}
    return {"success": True}
"#;

pub(super) const POST: &str = r#"
def main(params):
    return {"welcomed": params["email"]}
"#;

/// Longer than any benchmark.
const SLOW: &str = "
import time


def main(params):
    time.sleep(300)
";

pub(super) const APP: &str = "bench";

/// A number of subscribed functions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scenario {
    name: &'static str,
    pre: usize,
    post: usize,
    /// PRE calls that are under way all the time, from other requests.
    waiting: usize,
}

impl Scenario {
    pub(super) const ALL: [Self; 5] = [
        Self {
            name: "no subscriber",
            pre: 0,
            post: 0,
            waiting: 0,
        },
        Self {
            name: "200 PRE waiting",
            pre: 0,
            post: 0,
            waiting: 200,
        },
        Self {
            name: "1 PRE",
            pre: 1,
            post: 0,
            waiting: 0,
        },
        Self {
            name: "1 PRE + 1 POST",
            pre: 1,
            post: 1,
            waiting: 0,
        },
        Self {
            name: "5 PRE + 5 POST",
            pre: 5,
            post: 5,
            waiting: 0,
        },
    ];

    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    /// Deploys and subscribes its functions. What is returned keeps the waiting calls under way.
    pub(super) async fn install(&self, target: &Target) -> Result<JoinSet<()>, Error> {
        let mut waiting = JoinSet::new();
        if self.is_empty() {
            return Ok(waiting);
        }
        target
            .post("/api/apps/", &json!({"name": APP, "slug": APP}))
            .await?;
        for (count, event, code) in [
            (self.pre, "PRE_USER_CREATE", PRE),
            (self.post, "POST_USER_CREATE", POST),
            (self.waiting.min(1), "PRE_USER_UPDATE", SLOW),
        ] {
            for number in 0..count {
                deploy(target, &format!("{event} {number}"), event, code).await?;
            }
        }
        if self.waiting > 0 {
            let body = json!({"username": "sleeper", "email": "sleeper@example.com"});
            target.post("/api/users/", &body).await?;
        }
        for _ in 0..self.waiting {
            let call = target.patch("/api/users/sleeper/", &json!({"last_name": "x"}));
            waiting.spawn(async move {
                // It ends when it is dropped, with the benchmark.
                let _ = call.await;
            });
        }
        target.runs_open(self.waiting).await?;
        Ok(waiting)
    }

    const fn is_empty(&self) -> bool {
        self.pre + self.post + self.waiting == 0
    }

    /// Runs that stay open while the load runs.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Removes them.
    pub(super) async fn remove(&self, target: &Target) -> CommandResult {
        if self.is_empty() {
            return Ok(());
        }
        target.delete(&format!("/api/apps/{APP}/")).await
    }
}

/// The time of the first request after a deployment, and of the one after it.
pub(super) async fn first_sign_ups(target: &Target) -> Result<FirstSignUps, Error> {
    target
        .post("/api/apps/", &json!({"name": APP, "slug": APP}))
        .await?;
    deploy(target, "first", "PRE_USER_CREATE", PRE).await?;
    let path = format!("/api/apps/{APP}/functions/first/");
    let (mut first, mut next) = (load::histogram()?, load::histogram()?);
    let mut connection = load::Connection::open(target).await?;
    for number in 0..DEPLOYMENTS {
        let body = json!({"code": format!("{PRE}\n# {number}\n")});
        target.patch(&path, &body).await?;
        for histogram in [&mut first, &mut next] {
            let sent = SystemClock.monotonic();
            connection.create_user().await?;
            histogram.record(u64::try_from(elapsed(sent).as_micros())?.max(1))?;
        }
    }
    target.delete(&format!("/api/apps/{APP}/")).await?;
    Ok(FirstSignUps::new(DEPLOYMENTS, &first, &next))
}

pub(super) async fn deploy(target: &Target, name: &str, event: &str, code: &str) -> CommandResult {
    let body = json!({
        "name": name,
        "execution_mode": "app",
        "environment": "python",
        "code": code,
    });
    let path = format!("/api/apps/{APP}/functions/");
    let function = target.post(&path, &body).await?;
    let body = json!({"function_id": function["id"]});
    target
        .post(&format!("/api/cloud/events/{event}/subscribe/"), &body)
        .await?;
    Ok(())
}

//! What is subscribed while the load runs.

use super::target::Target;
use crate::CommandResult;
use serde_json::json;

/// A real check, with a regular expression, as sign-up pages have it.
const PRE: &str = r#"
import re

EMAIL = re.compile(r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$")


def main(params):
    if not EMAIL.match(params["email"]):
        return {"success": False, "error": "not an address"}
    return {"success": True}
"#;

const POST: &str = r#"
def main(params):
    return {"welcomed": params["email"]}
"#;

const APP: &str = "bench";

/// A number of subscribed functions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scenario {
    name: &'static str,
    pre: usize,
    post: usize,
}

impl Scenario {
    pub(super) const ALL: [Self; 4] = [
        Self {
            name: "no subscriber",
            pre: 0,
            post: 0,
        },
        Self {
            name: "1 PRE",
            pre: 1,
            post: 0,
        },
        Self {
            name: "1 PRE + 1 POST",
            pre: 1,
            post: 1,
        },
        Self {
            name: "5 PRE + 5 POST",
            pre: 5,
            post: 5,
        },
    ];

    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    /// Deploys and subscribes its functions.
    pub(super) async fn install(&self, target: &Target) -> CommandResult {
        if self.pre + self.post == 0 {
            return Ok(());
        }
        target
            .post("/api/apps/", &json!({"name": APP, "slug": APP}))
            .await?;
        for (count, event, code) in [
            (self.pre, "PRE_USER_CREATE", PRE),
            (self.post, "POST_USER_CREATE", POST),
        ] {
            for number in 0..count {
                let body = json!({
                    "name": format!("{event} {number}"),
                    "execution_mode": "app",
                    "environment": "python",
                    "code": code,
                });
                let function = target
                    .post(&format!("/api/apps/{APP}/functions/"), &body)
                    .await?;
                let body = json!({"function_id": function["id"]});
                target
                    .post(&format!("/api/cloud/events/{event}/subscribe/"), &body)
                    .await?;
            }
        }
        Ok(())
    }

    /// Removes them.
    pub(super) async fn remove(&self, target: &Target) -> CommandResult {
        if self.pre + self.post == 0 {
            return Ok(());
        }
        target.delete(&format!("/api/apps/{APP}/")).await
    }
}

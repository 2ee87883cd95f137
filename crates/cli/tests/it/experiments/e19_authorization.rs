//! E19: every operation of the OpenAPI document without a credential, with a made-up one and with one
//! of another site. Who of a site may do what is tried with all roles, and that what is another's
//! looks like what does not exist, in `crates/server/tests/it/authorization.rs` and `tenants.rs`.

use super::operations::{self, Operation};
use crate::support::api::{Answer, Api};
use crate::tenants::two_sites;
use reqwest::Method;
use serde_json::json;

async fn ask(api: &Api, operation: &Operation) -> Answer {
    let method: Method = operation.method.parse().unwrap();
    let mut request = api.request(method, &operation.path);
    if operation.fields.is_some() {
        request = request.json(&json!({}));
    }
    api.try_send(request).await.unwrap()
}

#[tokio::test]
async fn nobody_and_strangers_are_told_to_prove_themselves() {
    let (server, acme) = two_sites().await;
    let stranger = acme.at("127.0.0.1");
    let mut refused = 0;
    for operation in operations::all(&server.api).await {
        let public = operation.public;
        for (who, api) in [
            ("nobody", server.api.anonymous()),
            ("made up", server.api.with("Bearer a.b.c")),
            ("a made-up key", server.api.with("Api-Key tgk_0123456789")),
            ("a stranger", stranger.clone()),
        ] {
            // It never ends where it is let in.
            if operation.id == "invocations_stream" && public {
                continue;
            }
            let answer = ask(&api, &operation).await;
            let id = &operation.id;
            assert!(answer.status < 500, "{id} for {who}: {answer:?}");
            if !public {
                assert_eq!(answer.status, 401, "{id} for {who}: {answer:?}");
                answer.refused(401, "UNAUTHORIZED");
                refused += 1;
            }
        }
    }
    assert!(refused > 4 * 40, "{refused}");
    server.stop().await;
}

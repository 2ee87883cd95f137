//! Every example of the guide does what the guide says, in the host that the server uses.

use crate::support::folder::Folder;
use serde_json::Value;
use tollgate_core::engine::verdict::Verdict;
use tollgate_core::filter::Filter;
use tollgate_core::json::JsonText;
use tollgate_core::platform;
use tollgate_core::subscribers::OnTimeout;
use tollgate_core::tasks::Failure;
use tollgate_core::users::events::{POST_USER_UPDATE, PRE_USER_CREATE};

const FUNCTIONS: &str = include_str!("../../../../docs/guide/functions.md");
const EVENTS: &str = include_str!("../../../../docs/guide/events.md");

/// The blocks of a page that are in this language.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    let parts = page.split(fence.as_str()).skip(1);
    parts
        .map(|part| part.split("```").next().unwrap())
        .collect()
}

#[tokio::test]
async fn every_function_gives_what_its_first_line_says() {
    let examples = blocks(FUNCTIONS, "python");
    assert!(examples.len() >= 10, "{}", examples.len());
    let folder = Folder::new();
    let mut seen = Vec::new();
    for example in examples {
        let first = example.lines().next().unwrap().trim_start_matches("# ");
        let (event, expected) = first.split_once(": ").unwrap();
        let catalogue = platform::catalogue();
        let spec = catalogue.find(event).unwrap();
        folder.write("example.py", example);
        let run = [
            "function",
            "run",
            "example.py",
            "--event",
            spec.event.as_str(),
            "--json",
        ];
        let said = folder.run(&run).await.json();
        assert_eq!(said["error"], Value::Null, "{example}");
        let returned: Result<_, Failure> = Ok(JsonText::from(&said["result"]));
        let verdict = Verdict::of(&returned, OnTimeout::Deny).kind();
        match expected {
            "done" => {}
            _ => assert_eq!(verdict.as_str(), expected, "{example}"),
        }
        seen.push(expected);
    }
    for kind in ["allow", "deny", "enrich", "done"] {
        assert!(seen.contains(&kind), "no example for {kind}");
    }
}

#[test]
fn every_filter_can_be_set() {
    let mut filters = 0;
    for (language, event) in [("cel", PRE_USER_CREATE), ("cel update", POST_USER_UPDATE)] {
        for text in blocks(EVENTS, language).into_iter().flat_map(str::lines) {
            let catalogue = platform::catalogue();
            let spec = catalogue.find(event.as_str()).unwrap();
            Filter::compile(text, Some(spec), catalogue.users())
                .unwrap_or_else(|error| panic!("{text}: {error}"));
            filters += 1;
        }
    }
    assert!(filters >= 6, "{filters}");
}

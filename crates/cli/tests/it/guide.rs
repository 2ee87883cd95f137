//! Every example of the guide does what the guide says, in the host that the server uses, and the guide lists every
//! event type.

use crate::support::folder::Folder;
use serde_json::Value;
use std::collections::BTreeSet;
use tollgate_core::engine::verdict::Verdict;
use tollgate_core::events::{EventSpec, EventType, Phase};
use tollgate_core::filter::Filter;
use tollgate_core::json::JsonText;
use tollgate_core::platform;
use tollgate_core::subscribers::OnTimeout;
use tollgate_core::tasks::Failure;
use tollgate_core::users::events::{POST_USER_CREATE, POST_USER_UPDATE, PRE_USER_CREATE};

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
    let pages = [FUNCTIONS, EVENTS];
    let of = |language, file, comment| {
        let blocks = pages.iter().flat_map(move |it| blocks(it, language));
        blocks.map(move |example| (file, comment, example))
    };
    let mut examples: Vec<_> = of("python", "example.py", "# ").collect();
    assert!(examples.len() >= 14, "{}", examples.len());
    if node_is_there() {
        examples.extend(of("js", "example.mjs", "// "));
    }
    let folder = Folder::new();
    let mut seen = Vec::new();
    for (file, comment, example) in examples {
        let first = example.lines().next().unwrap();
        let first = first.trim_start_matches(comment);
        let (event, expected) = first.split_once(": ").unwrap();
        let catalogue = platform::catalogue();
        let spec = catalogue.find(event).unwrap();
        folder.write(file, example);
        let run = [
            "function",
            "run",
            file,
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

/// Whether there is a Node for functions in it; says so where there is none.
fn node_is_there() -> bool {
    let there = std::process::Command::new("node").arg("--version").output();
    let there = there.is_ok_and(|answer| answer.status.success());
    if !there {
        eprintln!("SKIPPED: the guide's functions in Node: node is not installed");
    }
    there
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

/// Where the generated table of event types stands.
const TABLE: (&str, &str) = ("writes it anew -->\n", "<!-- /events -->");

/// The names of an object's members.
fn names(of: &Value) -> BTreeSet<&str> {
    of.as_object().unwrap().keys().map(String::as_str).collect()
}

/// What an event carries: two groups of fields have a name of their own below the table.
fn parameters(spec: &EventSpec, user: &Value, profile: &Value) -> String {
    let sample = spec.sample();
    let mut left = names(&sample);
    let mut told = Vec::new();
    for (name, group) in [("the complete user", user), ("the proposed user", profile)] {
        let group = names(group);
        if group.is_subset(&left) {
            left.retain(|field| !group.contains(field));
            told.push(name.to_owned());
        }
    }
    told.extend(left.into_iter().map(|field| format!("`{field}`")));
    told.join(", ")
}

/// One row for each event type, in the catalogue's order.
fn table() -> String {
    let catalogue = platform::catalogue();
    let sample = |event: EventType| catalogue.find(event.as_str()).unwrap().sample();
    let (user, profile) = (sample(POST_USER_CREATE), sample(PRE_USER_CREATE));
    let mut table =
        "| Event | When | Parameters | A function may change |\n|---|---|---|---|\n".to_owned();
    for spec in catalogue.specs() {
        let when = spec
            .description()
            .trim_end_matches(" Every subscriber must agree.");
        let fields = spec.enrichable.iter().map(|field| format!("`{field}`"));
        let mut changes = fields.collect::<Vec<_>>().join(", ");
        if changes.is_empty() && spec.event.phase() == Phase::Pre {
            changes.push_str("nothing");
        }
        let parameters = parameters(spec, &user, &profile);
        let row = format!("| `{}` | {when} | {parameters} | {changes} |", spec.event);
        table.push_str(&row.replace(" |  |", " | |"));
        table.push('\n');
    }
    table
}

#[test]
fn the_table_of_events_is_the_catalogue() {
    let (before, rest) = EVENTS.split_once(TABLE.0).unwrap();
    let (there, after) = rest.split_once(TABLE.1).unwrap();
    let table = table();
    if std::env::var_os("TOLLGATE_REWRITE").is_some() {
        let page = format!("{before}{}{table}{}{after}", TABLE.0, TABLE.1);
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide/events.md");
        std::fs::write(path, page).unwrap();
        return;
    }
    assert_eq!(
        there, table,
        "TOLLGATE_REWRITE=1 and this test write it anew"
    );
}

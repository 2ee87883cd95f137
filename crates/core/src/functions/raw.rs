//! Raw requests: what a public function is told of an HTTP request, and the HTTP answer that it may give.
//!
//! Must never pass on a credential, nor an answer that speaks for the server: framing, cookies, what browsers may do.

use crate::json::JsonText;
use crate::limits;
use crate::tasks::{Failure, FailureKind};
use crate::text::text_enum;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;

/// What a public function is given of a request.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RequestForm {
    /// The `params` of a JSON body.
    #[default]
    Json,
    /// The request itself.
    Raw,
}

text_enum!(RequestForm { Json => "json", Raw => "raw" });

/// Headers that a function is not told: credentials, and what is between two ends of a connection.
const UNTOLD: [&str; 12] = [
    "authorization",
    "connection",
    "cookie",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-session-token",
];
/// Headers of an answer that the server sets, whatever the function says.
const OF_SERVER: [&str; 13] = [
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-content-type-options",
    "x-request-id",
];
/// Headers with which an answer would speak for all that is at the server's address.
const REFUSED: [&str; 9] = [
    "alt-svc",
    "clear-site-data",
    "content-security-policy",
    "nel",
    "report-to",
    "service-worker-allowed",
    "set-cookie",
    "set-cookie2",
    "strict-transport-security",
];
/// The same, by what they begin with.
const REFUSED_PREFIX: &str = "access-control-";
/// Statuses that have no body.
const BODILESS: [u16; 3] = [204, 205, 304];

/// A request, as it came.
#[derive(Debug, Clone, Copy)]
pub struct RawRequest<'a> {
    /// In capital letters.
    pub method: &'a str,
    /// As it was sent, percent-encoded.
    pub path: &'a str,
    /// What follows the `?`, as it was sent.
    pub query: &'a str,
    /// The same, taken apart.
    pub pairs: &'a [(String, String)],
    /// Names in small letters, in their order; a name may come again.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// All bytes.
    pub body: &'a [u8],
}

impl RawRequest<'_> {
    /// What `main` is given. None if it is too large for that.
    pub fn params(&self) -> Option<JsonText> {
        let mut headers: BTreeMap<&str, String> = BTreeMap::new();
        for (name, value) in self.headers {
            if UNTOLD.contains(name) {
                continue;
            }
            // Every byte is a letter of Latin-1, as servers for Python have it.
            let value: String = value.iter().copied().map(char::from).collect();
            headers
                .entry(name)
                .and_modify(|all| *all = format!("{all}, {value}"))
                .or_insert(value);
        }
        // Of a name that comes again, the last: all of them are in the text.
        let query: BTreeMap<&str, &str> = self
            .pairs
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        let params = json!({
            "method": self.method,
            "path": self.path,
            "query": query,
            "query_string": self.query,
            "headers": headers,
            "body": std::str::from_utf8(self.body).ok(),
            "body_base64": BASE64_STANDARD.encode(self.body),
        });
        let params = JsonText::from(&params);
        (params.as_str().len() <= limits::RAW_PARAMS_BYTES).then_some(params)
    }
}

/// An HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawAnswer {
    /// 200 to 599.
    pub status: u16,
    /// Names in small letters; a name may come again.
    pub headers: Vec<(String, String)>,
    /// All bytes.
    pub body: Vec<u8>,
}

/// What makes a result an answer: these members, and no others. Text until it is looked at, since hostile code may make
/// much of little.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape<'a> {
    #[serde(borrow)]
    status: &'a RawValue,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(borrow)]
    body_base64: Option<&'a RawValue>,
}

/// A header's value: one, or several of the same name.
#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    One(String),
    Number(i64),
    Many(Vec<String>),
}

impl RawAnswer {
    /// The answer that a result is; none for a result that is none.
    ///
    /// # Errors
    /// What of it cannot be sent.
    pub fn of(result: &JsonText) -> Result<Option<Self>, Failure> {
        let Ok(shape) = result.read::<Shape<'_>>() else {
            return Ok(None);
        };
        let status = shape.status.get();
        if !status.bytes().all(|it| it.is_ascii_digit() || it == b'-') {
            return Ok(None);
        }
        let code = status
            .parse::<u16>()
            .ok()
            .filter(|it| (200..=599).contains(it));
        let code = code.ok_or_else(|| bad(format!("status {status} is none; use 200 to 599")))?;
        let mut headers = headers(shape.headers)?;
        let (mut body, plain) = match (
            text("body", shape.body)?,
            text("body_base64", shape.body_base64)?,
        ) {
            (Some(_), Some(_)) => {
                return Err(bad("body and body_base64 are both there".to_owned()));
            }
            (Some(text), None) => (text.into_bytes(), "text/plain; charset=utf-8"),
            (None, Some(text)) => {
                let bytes = BASE64_STANDARD.decode(text);
                let bytes = bytes.map_err(|error| bad(format!("body_base64: {error}")))?;
                (bytes, "application/octet-stream")
            }
            (None, None) => (Vec::new(), ""),
        };
        if BODILESS.contains(&code) {
            body.clear();
        }
        if !body.is_empty() && headers.iter().all(|(name, _)| name != "content-type") {
            headers.push(("content-type".to_owned(), plain.to_owned()));
        }
        Ok(Some(Self {
            status: code,
            headers,
            body,
        }))
    }
}

/// A member that is text, or null.
fn text(name: &str, given: Option<&RawValue>) -> Result<Option<String>, Failure> {
    match given.map(RawValue::get) {
        None | Some("null") => Ok(None),
        Some(text) if text.starts_with('"') => serde_json::from_str(text)
            .map(Some)
            .map_err(|error| bad(format!("{name}: {error}"))),
        Some(_) => Err(bad(format!(
            "{name} must be text; use json.dumps for an object"
        ))),
    }
}

fn headers(given: Option<&RawValue>) -> Result<Vec<(String, String)>, Failure> {
    let Some(text) = given.map(RawValue::get).filter(|it| *it != "null") else {
        return Ok(Vec::new());
    };
    let too_many = || {
        let (count, bytes) = (limits::RAW_HEADERS, limits::RAW_HEADER_BYTES / 1024);
        let message = format!("{BAD}: use at most {count} headers of {bytes} KiB together");
        Failure::new(FailureKind::Limit, message)
    };
    // Escapes make six letters of one.
    if text.len() > 6 * limits::RAW_HEADER_BYTES {
        return Err(too_many());
    }
    let given: BTreeMap<String, Values> = serde_json::from_str(text)
        .map_err(|_| bad("headers must be an object of texts, or of lists of texts".to_owned()))?;
    let mut headers = Vec::new();
    for (name, values) in given {
        let values = match values {
            Values::One(value) => vec![value],
            Values::Number(number) => vec![number.to_string()],
            Values::Many(values) => values,
        };
        let name = checked_name(&name)?;
        if OF_SERVER.contains(&name.as_str()) {
            continue;
        }
        for value in values {
            if !value.chars().all(|c| c == '\t' || (' '..='~').contains(&c)) {
                return Err(bad(format!(
                    "header {name} holds a line break or another character that no header has; encode it"
                )));
            }
            headers.push((name.clone(), value));
        }
    }
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if headers.len() > limits::RAW_HEADERS || bytes > limits::RAW_HEADER_BYTES {
        return Err(too_many());
    }
    Ok(headers)
}

/// In small letters.
fn checked_name(name: &str) -> Result<String, Failure> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        let shown = crate::text::prefix(name, 64).escape_debug();
        return Err(bad(format!("\"{shown}\" is no name of a header")));
    }
    let name = name.to_ascii_lowercase();
    if REFUSED.contains(&name.as_str()) || name.starts_with(REFUSED_PREFIX) {
        return Err(bad(format!(
            "header {name} would count for everything at this address, so no function sets it"
        )));
    }
    Ok(name)
}

const BAD: &str = "The result is no HTTP answer";

fn bad(why: String) -> Failure {
    Failure::new(FailureKind::NotJson, format!("{BAD}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn answer(result: &Value) -> Result<Option<RawAnswer>, String> {
        RawAnswer::of(&JsonText::from(result)).map_err(|failure| failure.message.to_string())
    }

    #[test]
    fn a_request_is_told_whole_without_credentials() {
        let body = b"{\"a\": \"\xc3\xa4\"}\r\n";
        let headers: &[(&str, &[u8])] = &[
            ("x-signature", b"v1=abc"),
            ("cookie", b"session=1"),
            ("authorization", b"Bearer x"),
            ("x-session-token", b"x"),
            ("x-many", b"one"),
            ("x-many", b"\xfctwo"),
            ("connection", b"close"),
        ];
        let request = RawRequest {
            method: "POST",
            path: "/api/x%20y",
            query: "a=1&a=2&b=%26+",
            pairs: &[("a", "1"), ("a", "2"), ("b", "& ")]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
            headers,
            body,
        };
        let told = request.params().unwrap().to_value();
        assert_eq!(
            told["headers"],
            json!({"x-signature": "v1=abc", "x-many": "one, \u{fc}two"})
        );
        assert_eq!(told["query"], json!({"a": "2", "b": "& "}));
        assert_eq!(told["query_string"], "a=1&a=2&b=%26+");
        assert_eq!(told["body"].as_str().unwrap().as_bytes(), body);
        let encoded = told["body_base64"].as_str().unwrap();
        assert_eq!(BASE64_STANDARD.decode(encoded).unwrap(), body);
        let bytes: &[u8] = &[0xff, 0, 0x80];
        let told = RawRequest {
            body: bytes,
            ..request
        }
        .params()
        .unwrap()
        .to_value();
        assert_eq!(told["body"], Value::Null);
        assert_eq!(told["body_base64"], BASE64_STANDARD.encode(bytes));
        // Escaped, it is six times as large.
        let zeros = vec![0; limits::REQUEST_BODY_BYTES];
        assert_eq!(
            RawRequest {
                body: &zeros,
                ..request
            }
            .params(),
            None
        );
        let text = vec![b'x'; limits::REQUEST_BODY_BYTES];
        assert!(
            RawRequest {
                body: &text,
                ..request
            }
            .params()
            .is_some()
        );
    }

    #[test]
    fn only_a_result_of_this_shape_is_an_answer() {
        for other in [
            json!(null),
            json!([]),
            json!({}),
            json!({"status": "ok"}),
            json!({"status": 200.5}),
            json!({"status": 200, "more": 1}),
            json!({"body": "x"}),
        ] {
            assert_eq!(answer(&other), Ok(None), "{other}");
        }
        let found = answer(
            &json!({"status": 201, "headers": {"X-A": "1", "Retry-After": 5, "B": ["x", "y"],
            "Content-Length": "7", "Date": "now", "X-Request-Id": "mine"}, "body": "\u{e4}"}),
        );
        let found = found.unwrap().unwrap();
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = [
            header("b", "x"),
            header("b", "y"),
            header("retry-after", "5"),
            header("x-a", "1"),
            header("content-type", "text/plain; charset=utf-8"),
        ];
        assert_eq!((found.status, &found.headers[..]), (201, &expected[..]));
        assert_eq!(found.body, "\u{e4}".as_bytes());
        let found = answer(&json!({"status": 200, "body_base64": "/wA=", "headers": null}));
        let found = found.unwrap().unwrap();
        assert_eq!(found.body, [0xff, 0]);
        assert_eq!(
            found.headers,
            [header("content-type", "application/octet-stream")]
        );
        let found = answer(&json!({"status": 204, "body": "x"}))
            .unwrap()
            .unwrap();
        assert_eq!((found.body, found.headers), (Vec::new(), Vec::new()));
    }

    #[test]
    fn what_cannot_be_sent_says_what_and_why() {
        let many: BTreeMap<_, _> = (0..=limits::RAW_HEADERS)
            .map(|at| (format!("x{at}"), ""))
            .collect();
        for (result, words) in [
            (json!({"status": 100}), "status 100"),
            (json!({"status": 600}), "status 600"),
            (json!({"status": -1}), "status -1"),
            (json!({"status": 200, "body": {}}), "json.dumps"),
            (
                json!({"status": 200, "body": "a", "body_base64": "YQ=="}),
                "both",
            ),
            (json!({"status": 200, "body_base64": "?"}), "body_base64"),
            (json!({"status": 200, "headers": []}), "headers must"),
            (json!({"status": 200, "headers": {"X": {}}}), "headers must"),
            (
                json!({"status": 200, "headers": {"X-A": "a\r\nX-B: b"}}),
                "header x-a",
            ),
            (json!({"status": 200, "headers": {"X A": ""}}), "X A"),
            (
                json!({"status": 200, "headers": {"X\r\nB": ""}}),
                "name of a header",
            ),
            (
                json!({"status": 200, "headers": {"Set-Cookie": "a=b"}}),
                "set-cookie",
            ),
            (
                json!({"status": 200, "headers": {"Access-Control-Allow-Origin": "*"}}),
                "access-control",
            ),
            (json!({"status": 200, "headers": many}), "headers of"),
            (
                json!({"status": 200, "headers": {"X": "x".repeat(limits::RAW_HEADER_BYTES)}}),
                "headers of",
            ),
        ] {
            let message = answer(&result).unwrap_err();
            assert!(
                message.contains(words) && message.starts_with(BAD),
                "{result}: {message}"
            );
        }
    }
}

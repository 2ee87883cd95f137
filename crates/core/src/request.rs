//! What is known of the request that caused an event or a call: who asked from where.
//!
//! It goes to functions, filters and webhooks, and onto records. Must never hold a credential, only its kind.

use crate::json::JsonText;
use crate::limits;
use crate::text::{self, text_enum};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// By what a caller was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// An access token.
    Jwt,
    /// An API key.
    ApiKey,
    /// A session token.
    Session,
}

text_enum!(CredentialKind { Jwt => "jwt", ApiKey => "api_key", Session => "session" });

/// Another request than the one that was made; what is none is as it was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestPatch {
    /// The client's address.
    pub ip: Option<Option<String>>,
    /// What the client says that it is.
    pub user_agent: Option<Option<String>>,
    /// The request's id.
    pub request_id: Option<String>,
    /// By what the caller was recognised.
    pub credential_kind: Option<Option<CredentialKind>>,
    /// The host name that was asked for, cut to [`limits::HOST_NAME_BYTES`].
    pub host: Option<String>,
}

/// The request that stands behind an event. None stands behind what the program or a function causes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RequestInfo {
    /// The client's address, where one is known.
    pub ip: Option<String>,
    /// What the client says that it is, cut to [`limits::USER_AGENT_BYTES`].
    pub user_agent: Option<String>,
    /// The id that the answer carries as `X-Request-Id`.
    pub request_id: String,
    /// By what the caller was recognised; none before a sign-in.
    pub credential_kind: Option<CredentialKind>,
    /// The host name that was asked for.
    pub host: String,
    /// The languages that the client asks for, the best first. For messages, and told to nobody.
    #[serde(skip)]
    pub languages: Vec<String>,
}

impl RequestInfo {
    /// What a client says that it is, cut to its bound.
    pub fn cut_user_agent(given: &str) -> String {
        text::prefix(given, limits::USER_AGENT_BYTES).to_owned()
    }

    /// The same request with other values.
    #[must_use]
    pub fn patched(self, patch: RequestPatch) -> Self {
        let user_agent = patch.user_agent;
        let user_agent = user_agent.map(|it| it.map(|it| Self::cut_user_agent(&it)));
        Self {
            ip: patch.ip.unwrap_or(self.ip),
            user_agent: user_agent.unwrap_or(self.user_agent),
            request_id: patch.request_id.unwrap_or(self.request_id),
            credential_kind: patch.credential_kind.unwrap_or(self.credential_kind),
            host: patch.host.unwrap_or(self.host),
            languages: self.languages,
        }
    }

    /// A host name, cut to its bound.
    pub fn cut_host(given: &str) -> String {
        text::prefix(given, limits::HOST_NAME_BYTES).to_owned()
    }

    /// The languages of an `Accept-Language` header (RFC 9110, section 12.5.4), the best first.
    pub fn languages(header: &str) -> Vec<String> {
        let header = text::prefix(header, limits::ACCEPT_LANGUAGE_BYTES);
        let mut wanted: Vec<(u32, &str)> = header.split(',').filter_map(weighed).collect();
        // Of equal weights the first one stays first.
        wanted.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        let tags = wanted.into_iter().map(|(_, tag)| tag.to_ascii_lowercase());
        tags.collect()
    }

    /// As functions, filters and webhooks see it.
    pub fn written(&self) -> Option<JsonText> {
        // Texts and words always have JSON.
        JsonText::of(self).ok()
    }

    /// JSON Schema (draft 2020-12) of what is seen, in one piece; null is allowed.
    pub fn inline_schema() -> Value {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        });
        let generator = SchemaGenerator::new(settings);
        generator.into_root_schema_for::<Option<Self>>().to_value()
    }

    /// A made-up one, for samples.
    pub fn sample() -> Self {
        Self {
            ip: Some("203.0.113.7".to_owned()),
            user_agent: Some("Mozilla/5.0".to_owned()),
            request_id: "01900000-0000-7000-8000-000000000003".to_owned(),
            credential_kind: Some(CredentialKind::Jwt),
            host: "example.com".to_owned(),
            languages: Vec::new(),
        }
    }
}

/// One range with its weight in thousandths; none for what is not wanted, or stands for any language.
fn weighed(range: &str) -> Option<(u32, &str)> {
    let (tag, weight) = match range.split_once(';') {
        Some((tag, weight)) => (tag, weight.trim().strip_prefix("q=")?.trim()),
        None => (range, "1"),
    };
    let weight: f32 = weight.parse().ok()?;
    let tag = tag.trim();
    let is_tag = !tag.is_empty()
        && tag
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || it == b'-');
    if !(is_tag && weight > 0.0 && weight <= 1.0) {
        return None;
    }
    // At most 1000.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Some(((weight * 1000.0) as u32, tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_language_comes_first() {
        let of = |header| RequestInfo::languages(header);
        assert_eq!(
            of("de-AT,de;q=0.9, en;q=0.95,fr"),
            ["de-at", "fr", "en", "de"]
        );
        assert_eq!(
            of("en;q=0, *, ;q=1, a b, de;q=2, x;q=nan"),
            Vec::<String>::new()
        );
        assert_eq!(of(""), Vec::<String>::new());
    }

    #[test]
    fn what_a_client_says_of_itself_is_bounded() {
        let long = "x".repeat(60_000);
        assert_eq!(RequestInfo::cut_host(&long).len(), limits::HOST_NAME_BYTES);
        assert_eq!(
            RequestInfo::cut_user_agent(&long).len(),
            limits::USER_AGENT_BYTES
        );
    }

    #[test]
    fn languages_are_told_to_nobody() {
        let info = RequestInfo {
            languages: vec!["de".to_owned()],
            ..RequestInfo::sample()
        };
        let told = info.written().unwrap();
        assert!(!told.as_str().contains("languages"), "{}", told.as_str());
        let expected = r#"{"ip":"203.0.113.7","user_agent":"Mozilla/5.0","request_id":"01900000-0000-7000-8000-000000000003","credential_kind":"jwt","host":"example.com"}"#;
        assert_eq!(told.as_str(), expected);
    }
}

//! What a secret is, as stored and as shown.

use crate::idempotency::Remember;
use crate::ids::AppId;
use crate::json::merge_patch;
use crate::time::Timestamp;
use crate::vault::{Revealed, Sealed};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fmt;
use zeroize::Zeroizing;

/// What is known of a secret without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// The app; none for the site's.
    pub app: Option<AppId>,
    /// The app's name in paths.
    pub app_slug: Option<String>,
    /// Its name, unique within the app or the site.
    pub key: String,
    /// What it is for.
    pub description: String,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// What kind of thing it is, in the owner's words.
    pub secret_type: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Columns that cannot be read: placeholders stand for them.
    pub damaged: Vec<&'static str>,
}

/// A secret with its value as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// What is known of it.
    pub secret: Secret,
    /// Its value.
    pub sealed: Sealed,
}

/// A secret to be stored. `app_slug` and times of `secret` are taken from the store and `created_at`.
#[derive(Debug, Clone)]
pub struct NewSecret {
    /// What is known of it.
    pub secret: Secret,
    /// Its value.
    pub sealed: Sealed,
    /// The answer of the request that asks for it.
    pub remember: Option<Remember<Secret>>,
}

/// New values for a secret.
#[derive(Debug, Clone)]
pub struct SecretChange {
    /// The secret as it will stand; its `updated_at` is the one that was read: whoever changed it
    /// meanwhile is not overwritten.
    pub secret: Secret,
    /// A new value; none keeps the old one.
    pub sealed: Option<Sealed>,
    /// Now.
    pub at: Timestamp,
}

/// A secret as it is shown: with its value to whom may read it.
#[derive(Debug, Clone)]
pub struct Shown {
    /// What is known of it.
    pub secret: Secret,
    /// Its value; none in lists.
    pub value: Option<SecretValue>,
}

/// Which secrets to list.
#[derive(Debug, Clone, Default)]
pub struct SecretQuery {
    /// Only these, with their values.
    pub keys: Vec<String>,
    /// Part of the key, without regard to case.
    pub search: Option<String>,
    /// Having all of these tags.
    pub tags: Vec<String>,
    /// Of this type.
    pub secret_type: Option<String>,
}

impl SecretQuery {
    pub(crate) fn matches(&self, secret: &Secret) -> bool {
        let searched = self.search.as_ref().is_none_or(|search| {
            let key = secret.key.to_lowercase();
            key.contains(&search.to_lowercase())
        });
        let typed = self.secret_type.as_ref();
        searched
            && (self.keys.is_empty() || self.keys.contains(&secret.key))
            && secret.has(&self.tags)
            && typed.is_none_or(|of| *of == secret.secret_type)
    }
}

impl Secret {
    /// Whether it has all of these tags.
    pub(crate) fn has(&self, tags: &[String]) -> bool {
        tags.iter().all(|tag| self.tags.contains(tag))
    }
}

/// A value: JSON, of which the API takes text and objects. Shows itself to nobody but a serialiser.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Revealed);

impl SecretValue {
    /// Of JSON text; none for anything else.
    pub(crate) fn of(json: Revealed) -> Option<Self> {
        serde_json::from_slice::<&RawValue>(json.bytes()).ok()?;
        Some(Self(json))
    }

    /// What `self` as a merge patch makes of `old`.
    pub(crate) fn merged_into(&self, old: &Self) -> Self {
        let read = |value: &Self| serde_json::from_str(value.json()).unwrap_or_default();
        let (mut merged, patch): (serde_json::Value, serde_json::Value) = (read(old), read(self));
        merge_patch(&mut merged, &patch);
        Self(Revealed::new(merged.to_string().into_bytes()))
    }

    /// As a variable has it: a text as it is, anything else as JSON.
    pub(crate) fn text(&self) -> Zeroizing<String> {
        let text = serde_json::from_str(self.json()).ok();
        Zeroizing::new(text.unwrap_or_else(|| self.json().to_owned()))
    }

    /// The JSON text.
    pub(crate) fn json(&self) -> &str {
        self.0.text().unwrap_or("null")
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

impl Serialize for SecretValue {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue =
            serde_json::from_str(self.json()).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SecretValue {
    /// Text or an object.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        if !value.is_string() && !value.is_object() {
            return Err(serde::de::Error::custom("Use text or an object"));
        }
        Ok(Self(Revealed::new(value.to_string().into_bytes())))
    }
}

//! What is asked for when a secret is set, and whether it can be stored.

use super::model::SecretValue;
use crate::limits;
use crate::time::Timestamp;
use crate::validation::FieldError;

/// A secret to be created.
#[derive(Debug, Clone)]
pub struct CreateSecret {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: SecretValue,
    /// What it is for.
    pub description: String,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// What kind of thing it is.
    pub secret_type: String,
}

/// New values for a secret; what is none stays.
#[derive(Debug, Clone, Default)]
pub struct UpdateSecret {
    /// Its value.
    pub value: Option<SecretValue>,
    /// An object as value is merged into the one that is there (RFC 7396).
    pub merges: bool,
    /// What it is for.
    pub description: Option<String>,
    /// Words to find it by.
    pub tags: Option<Vec<String>>,
    /// What kind of thing it is.
    pub secret_type: Option<String>,
    /// When what the change was made for was last changed; another state is not overwritten.
    pub expected: Option<Timestamp>,
}

pub(super) fn check_key(key: &str, errors: &mut Vec<FieldError>) {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    // "." and ".." are folded away in addresses.
    let names = key.chars().any(|c| c.is_ascii_alphanumeric());
    if key.len() > limits::SECRET_KEY_CHARS || !key.chars().all(plain) || !names {
        let message = format!(
            "Use 1 to {} letters, digits, '_', '.' and '-', with a letter or digit among them",
            limits::SECRET_KEY_CHARS
        );
        errors.push(FieldError::new("key", message));
    }
}

pub(super) fn check_value(value: &SecretValue, errors: &mut Vec<FieldError>) {
    if value.json().len() > limits::SECRET_BYTES {
        let message = format!(
            "Use at most {} bytes, written as JSON",
            limits::SECRET_BYTES
        );
        errors.push(FieldError::new("value", message));
    }
}

pub(super) fn check_type(secret_type: &str, errors: &mut Vec<FieldError>) {
    if secret_type.chars().count() > limits::SLUG_CHARS || secret_type.contains('\0') {
        let message = format!("Use at most {} characters, and no NUL", limits::SLUG_CHARS);
        errors.push(FieldError::new("secret_type", message));
    }
}

pub(super) fn check_tags(tags: &[String], errors: &mut Vec<FieldError>) {
    if tags.len() > limits::SECRET_TAGS {
        let message = format!("Use at most {} tags", limits::SECRET_TAGS);
        errors.push(FieldError::new("tags", message));
        return;
    }
    let fits = |tag: &String| {
        let chars = tag.chars().count();
        chars > 0 && chars <= limits::SLUG_CHARS && !tag.contains(['\0', ',']) && tag.trim() == tag
    };
    for (index, _) in tags.iter().enumerate().filter(|(_, tag)| !fits(tag)) {
        let message = format!(
            "Use 1 to {} characters, without commas, NUL, or white space around them",
            limits::SLUG_CHARS
        );
        errors.push(FieldError::new(format!("tags.{index}"), message));
    }
}

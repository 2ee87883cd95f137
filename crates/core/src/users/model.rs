//! What a user is.

use crate::function::Object;
use crate::ids::UserId;
use crate::limits;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use uuid::Uuid;

/// The part of a user that an operation proposes and PRE functions see: everything but identity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Sign-in name, unique within the site without regard to case.
    #[schemars(length(min = 1, max = 150))]
    pub username: String,
    /// E-mail address, unique within the site without regard to case.
    #[schemars(email, length(max = 254))]
    pub email: String,
    /// First name; may be empty.
    #[serde(default)]
    #[schemars(length(max = 150))]
    pub first_name: String,
    /// Last name; may be empty.
    #[serde(default)]
    #[schemars(length(max = 150))]
    pub last_name: String,
    /// May sign in.
    pub is_active: bool,
    /// May manage users.
    pub is_staff: bool,
    /// Free-form data.
    #[serde(default)]
    pub attributes: Object,
}

/// A user as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    /// The number that the API shows.
    pub id: UserId,
    /// The same user's UUID.
    pub uuid: Uuid,
    /// The changeable part.
    pub profile: Profile,
    /// May do everything in the site.
    pub is_superuser: bool,
    /// Deleted users are kept but found by no one.
    pub is_deleted: bool,
    /// When the account was created.
    pub date_joined: Timestamp,
    /// When it last signed in.
    pub last_login: Option<Timestamp>,
    /// Role slugs, `"app:role"` or `"role"` for the whole site, not expired when read.
    pub roles: Vec<String>,
    /// When the record was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Counts changes; a write names the revision that it was decided on.
    pub revision: i64,
}

impl User {
    /// A record that has just been made.
    pub(crate) fn new(
        id: UserId,
        uuid: Uuid,
        profile: Profile,
        is_superuser: bool,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            uuid,
            profile,
            is_superuser,
            is_deleted: false,
            date_joined: now,
            last_login: None,
            roles: Vec::new(),
            created_at: now,
            updated_at: now,
            revision: 1,
        }
    }

    /// First and last name with one space between, as far as there are any.
    pub fn full_name(&self) -> String {
        format!("{} {}", self.profile.first_name, self.profile.last_name)
            .trim()
            .to_owned()
    }
}

/// One field that does not hold, for the `errors` of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field's name; what is within another one follows it after a dot.
    pub field: Cow<'static, str>,
    /// What must change.
    pub message: String,
    /// Where in the field's text, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Where in that line, in characters from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
}

impl FieldError {
    /// One error.
    pub fn new(field: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
            line: None,
            column: None,
        }
    }
}

impl Profile {
    /// Everything that is wrong with the proposed values; empty means they could be stored.
    pub fn check(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        check_username(&self.username, &mut errors);
        check_email(&self.email, &mut errors);
        for (field, name) in [
            ("first_name", &self.first_name),
            ("last_name", &self.last_name),
        ] {
            check_text(field, name, limits::NAME_CHARS, &mut errors);
        }
        let attributes = serde_json::to_string(&self.attributes).unwrap_or_default();
        if attributes.len() > limits::ATTRIBUTES_BYTES {
            let message = format!("Keep it below {} KiB", limits::ATTRIBUTES_BYTES / 1024);
            errors.push(FieldError::new("attributes", message));
        } else if attributes.contains("\\u0000") {
            errors.push(FieldError::new("attributes", "Remove the NUL character"));
        }
        errors
    }
}

fn check_text(field: &'static str, text: &str, max_chars: usize, errors: &mut Vec<FieldError>) {
    if text.chars().count() > max_chars {
        errors.push(FieldError::new(
            field,
            format!("Use at most {max_chars} characters"),
        ));
    } else if text.chars().any(char::is_control) {
        errors.push(FieldError::new(field, "Remove the control characters"));
    }
}

fn check_username(username: &str, errors: &mut Vec<FieldError>) {
    let allowed = |c: char| c.is_alphanumeric() || "@.+-_".contains(c);
    if username.is_empty() {
        errors.push(FieldError::new("username", "This field may not be blank"));
    } else if username.chars().count() > limits::USERNAME_CHARS || !username.chars().all(allowed) {
        let message = format!(
            "Use at most {} letters, digits and @ . + - _ only",
            limits::USERNAME_CHARS
        );
        errors.push(FieldError::new("username", message));
    } else if username == "me" || username == "." || username == ".." {
        // "/users/me/" is the caller's own record; dots are folded away by HTTP clients.
        errors.push(FieldError::new(
            "username",
            "This name is reserved; choose another",
        ));
    }
}

/// A check of shape only: one `@`, something before it, a dotted name after it, no blanks.
fn check_email(email: &str, errors: &mut Vec<FieldError>) {
    let plausible = email.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty()
            && !domain.contains('@')
            && domain.split('.').count() > 1
            && domain.split('.').all(|label| {
                !label.is_empty()
                    && !label.starts_with('-')
                    && !label.ends_with('-')
                    && label.chars().all(|c| c.is_alphanumeric() || c == '-')
            })
    });
    let clean = !email
        .chars()
        .any(|c| c.is_whitespace() || c.is_control() || "<>,;\"()".contains(c));
    if !plausible || !clean || email.len() > limits::EMAIL_CHARS {
        errors.push(FieldError::new("email", "Enter a valid e-mail address"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(username: &str, email: &str) -> Profile {
        Profile {
            username: username.into(),
            email: email.into(),
            first_name: String::new(),
            last_name: String::new(),
            is_active: true,
            is_staff: false,
            attributes: Object::new(),
        }
    }

    #[test]
    fn plain_values_pass() {
        for (username, email) in [
            ("john_doe", "john@example.com"),
            ("ünï", "a.b+c@x-y.co.uk"),
            ("a@b.c", "q@q.museum"),
        ] {
            assert_eq!(profile(username, email).check(), [], "{username} {email}");
        }
    }

    #[test]
    fn wrong_values_name_their_field() {
        for (username, email, field) in [
            ("", "a@b.c", "username"),
            ("a b", "a@b.c", "username"),
            ("a/b", "a@b.c", "username"),
            ("a\0b", "a@b.c", "username"),
            ("me", "a@b.c", "username"),
            ("a", "", "email"),
            ("a", "a@b", "email"),
            ("a", "a@@b.c", "email"),
            ("a", "a b@c.d", "email"),
            ("a", "a@-b.c", "email"),
            ("a", "a@b.c\n", "email"),
        ] {
            let errors = profile(username, email).check();
            assert_eq!(errors.len(), 1, "{username:?} {email:?}");
            assert_eq!(errors[0].field, field);
        }
    }
}

//! What a user is.

use crate::ids::UserId;
use crate::json::Object;
use crate::time::Timestamp;
use crate::users::identity;
use crate::validation::{FieldError, check_object};
use crate::{limits, text};
use icu_properties::CodePointSetData;
use icu_properties::props::XidContinue;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The part of a user that an operation proposes and PRE functions see: everything but identity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Sign-in name; nobody else of the site has it as username or address, in any spelling.
    #[schemars(length(min = 1, max = 150))]
    pub username: String,
    /// E-mail address; nobody else of the site has it as address or username, in any spelling.
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
    /// Columns that cannot be read: placeholders stand for them.
    pub damaged: Vec<&'static str>,
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
            damaged: Vec::new(),
        }
    }

    /// First and last name with one space between, as far as there are any.
    pub fn full_name(&self) -> String {
        format!("{} {}", self.profile.first_name, self.profile.last_name)
            .trim()
            .to_owned()
    }
}

impl Profile {
    /// Everything that is wrong with the proposed values; empty means they could be stored. What is as
    /// it was before was judged then, by the rules of that day.
    pub fn check(&self, before: Option<&Self>) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let is_new = |of: fn(&Self) -> &str| before.is_none_or(|before| of(before) != of(self));
        if is_new(|it| &it.username) {
            check_username(&self.username, &mut errors);
        }
        if is_new(|it| &it.email) {
            check_email(&self.email, &mut errors);
        }
        if is_new(|it| &it.first_name) {
            check_name("first_name", &self.first_name, &mut errors);
        }
        if is_new(|it| &it.last_name) {
            check_name("last_name", &self.last_name, &mut errors);
        }
        check_object(
            "attributes",
            &self.attributes,
            limits::ATTRIBUTES_BYTES,
            &mut errors,
        );
        errors
    }
}

/// A name of a person. Joiners stand in names of many languages.
fn check_name(field: &'static str, name: &str, errors: &mut Vec<FieldError>) {
    let max_chars = limits::NAME_CHARS;
    let is_unwanted = |c| text::is_control_or_format(c) && !matches!(c, '\u{200c}' | '\u{200d}');
    if name.chars().count() > max_chars {
        let message = format!("Use at most {max_chars} characters");
        errors.push(FieldError::new(field, message));
    } else if let Some(message) = text::unwanted(name, is_unwanted) {
        errors.push(FieldError::new(field, message));
    }
}

/// What may stand in a username, Django's rule with the marks that many scripts need.
pub(crate) fn is_of_a_username(c: char) -> bool {
    let is_word = c.is_alphanumeric() || CodePointSetData::new::<XidContinue>().contains(c);
    (is_word && !text::is_unseen(c) && !text::is_meaningless(c)) || "@.+-_".contains(c)
}

fn check_username(username: &str, errors: &mut Vec<FieldError>) {
    let mut wrong = |message: &str| errors.push(FieldError::new("username", message));
    if username.is_empty() {
        wrong("This field may not be blank");
    } else if let Some(message) = text::unwanted(username, text::is_unseen) {
        wrong(&message);
    } else if username.chars().count() > limits::USERNAME_CHARS
        || !username.chars().all(is_of_a_username)
        || username.starts_with(text::is_mark)
    {
        wrong(&format!(
            "Use at most {} letters, digits and @ . + - _ only",
            limits::USERNAME_CHARS
        ));
    } else if matches!(identity::key(username).as_str(), "me" | "." | "..") {
        // "/users/me/" is the caller's own record; dots are folded away by HTTP clients.
        wrong("This name is reserved; choose another");
    }
}

/// The shape of RFC 5321 and 6531: a dot-atom of at most 64 bytes, one `@`, a name that DNS can hold.
fn check_email(email: &str, errors: &mut Vec<FieldError>) {
    if let Some(message) = text::unwanted(email, text::is_unseen) {
        errors.push(FieldError::new("email", message));
        return;
    }
    let is_valid = email.split_once('@').is_some_and(|(local, domain)| {
        let ascii = identity::mail_domain(domain);
        let bytes = ascii.map_or(usize::MAX, |ascii| ascii.len().max(domain.len()));
        local.len() <= limits::EMAIL_LOCAL_BYTES
            && !local.starts_with(text::is_mark)
            && local
                .split('.')
                .all(|atom| !atom.is_empty() && atom.chars().all(is_of_an_atom))
            && bytes.saturating_add(local.len() + 1) <= limits::EMAIL_CHARS
    });
    if !is_valid {
        errors.push(FieldError::new("email", "Enter a valid e-mail address"));
    }
}

/// `atext` of RFC 5322, with what RFC 6531 adds.
fn is_of_an_atom(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
    } else {
        !c.is_whitespace() && !text::is_unseen(c) && !text::is_meaningless(c)
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
            // Marks that no letter holds, digits of other scripts, addresses in other scripts.
            ("हिन्दी", "josé@bücher.example"),
            ("q\u{303}uick", "用户@例子.广告"),
            ("أحمد٣", "o'brien@example.com"),
            (
                "name",
                &format!("{}@{}.org", "a".repeat(64), "b".repeat(63)),
            ),
        ] {
            assert_eq!(
                profile(username, email).check(None),
                [],
                "{username} {email}"
            );
        }
    }

    #[test]
    fn what_stands_there_already_is_not_judged_again() {
        let old = profile("ali\u{200b}ce", "a..b@c.d");
        assert_eq!(old.check(Some(&old)), []);
        let mut new = old.clone();
        new.email = "b..a@c.d".to_owned();
        assert_eq!(new.check(Some(&old))[0].field, "email");
    }

    #[test]
    fn names_of_people_may_have_joiners_and_nothing_else_unseen() {
        let with = |first_name: &str| Profile {
            first_name: first_name.to_owned(),
            ..profile("a", "a@b.c")
        };
        assert_eq!(with("می\u{200c}خواهم").check(None), []);
        for unwanted in ["\u{202e}eve", "e\u{7}ve", "e\nve", "e\u{200b}ve"] {
            assert_eq!(with(unwanted).check(None)[0].field, "first_name");
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
            ("a b\u{a0}", "a@b.c", "username"),
            (" a", "a@b.c", "username"),
            ("Me", "a@b.c", "username"),
            ("\u{301}a", "a@b.c", "username"),
            ("ali\u{200b}ce", "a@b.c", "username"),
            ("ali\u{202e}ce", "a@b.c", "username"),
            ("ali\u{ad}ce", "a@b.c", "username"),
            ("ali\u{200d}ce", "a@b.c", "username"),
            ("ali\u{fe0f}ce", "a@b.c", "username"),
            ("ali\u{34f}ce", "a@b.c", "username"),
            ("ali\u{3164}ce", "a@b.c", "username"),
            ("ali\u{e0061}ce", "a@b.c", "username"),
            ("ali\u{e000}ce", "a@b.c", "username"),
            ("ali\u{378}ce", "a@b.c", "username"),
            ("a\u{20dd}", "a@b.c", "username"),
            ("a", ".a@b.c", "email"),
            ("a", "a.@b.c", "email"),
            ("a", "a..b@c.d", "email"),
            ("a", "a[b]@c.d", "email"),
            ("a", "a\\b@c.d", "email"),
            ("a", "a:b@c.d", "email"),
            ("a", "\"a b\"@c.d", "email"),
            ("a", "a@[1.2.3.4]", "email"),
            ("a", "a@1.2.3.4", "email"),
            ("a", "a@b_c.d", "email"),
            ("a", "a@b..c", "email"),
            ("a", "a@b.c.", "email"),
            ("a", "a\u{200b}@b.c", "email"),
            ("a", "a@b\u{200b}.c", "email"),
            ("a", "a\u{202e}@b.c", "email"),
            ("a", "a\u{ad}@b.c", "email"),
            ("a", "a\u{feff}@b.c", "email"),
            ("a", "a\u{2028}@b.c", "email"),
            ("a", "a\u{3000}@b.c", "email"),
            ("a", "a\u{e000}@b.c", "email"),
            ("a", &format!("{}@b.c", "a".repeat(65)), "email"),
            ("a", &format!("a@{}.c", "b".repeat(64)), "email"),
            ("a", &format!("a@{}c", "b.".repeat(130)), "email"),
        ] {
            let errors = profile(username, email).check(None);
            assert_eq!(errors.len(), 1, "{username:?} {email:?}");
            assert_eq!(errors[0].field, field);
        }
    }
}

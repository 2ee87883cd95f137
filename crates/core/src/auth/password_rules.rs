//! Which new passwords are good enough: the four rules that Django has by default.
//!
//! Must never be asked about a password at sign-in: what was accepted once keeps working.

use super::password::Password;
use crate::limits;
use crate::text::folded;
use crate::users::Profile;
use crate::validation::FieldError;
use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::LazyLock;

/// Some 20 000 common passwords in lower case: the list of Royce Williams that Django ships.
static COMMON: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    include_str!("../../assets/common-passwords.txt")
        .lines()
        .map(str::trim)
        .collect()
});

/// From which likeness on a password is too similar, as Django measures it.
const TOO_SIMILAR: f64 = 0.7;

/// Which rules hold. All of them do unless switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordRules {
    /// Shortest password, in characters.
    pub min_chars: usize,
    /// Refuse what is like the account's names.
    pub refuse_similar: bool,
    /// Refuse what stands in the list of common passwords.
    pub refuse_common: bool,
    /// Refuse what consists of digits only.
    pub refuse_numeric: bool,
}

impl Default for PasswordRules {
    fn default() -> Self {
        Self {
            min_chars: limits::PASSWORD_CHARS_MIN,
            refuse_similar: true,
            refuse_common: true,
            refuse_numeric: true,
        }
    }
}

impl PasswordRules {
    /// Everything that is wrong with a new password for this account; empty means nothing.
    pub(super) fn check(&self, password: &Password, account: &Profile) -> Vec<FieldError> {
        let text = password.normal();
        let chars = text.chars().count();
        let mut problems = Vec::new();
        if chars > limits::PASSWORD_CHARS_MAX {
            // Nothing else is looked at: it may be of any length.
            let most = limits::PASSWORD_CHARS_MAX;
            let message = format!("Use at most {most} characters");
            return vec![FieldError::new("password", message)];
        }
        if chars < self.min_chars {
            problems.push(format!("Use at least {} characters", self.min_chars));
        }
        if self.refuse_similar
            && let Some(field) = similar_to(&text, account)
        {
            problems.push(format!("The password is too similar to the {field}"));
        }
        if self.refuse_common && COMMON.contains(text.to_lowercase().trim()) {
            problems.push("This password is too common".to_owned());
        }
        if self.refuse_numeric && !text.is_empty() && text.chars().all(char::is_numeric) {
            problems.push("Use more than digits".to_owned());
        }
        problems
            .into_iter()
            .map(|problem| FieldError::new("password", problem))
            .collect()
    }
}

/// The field of the account that a password is too much like.
fn similar_to(password: &str, account: &Profile) -> Option<&'static str> {
    let password = folded(password);
    let fields = [
        ("username", &account.username),
        ("first name", &account.first_name),
        ("last name", &account.last_name),
        ("e-mail address", &account.email),
    ];
    let similar = fields.into_iter().find(|(_, value)| {
        let value = folded(value);
        let parts = value.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        parts
            .chain([value.as_str()])
            .any(|part| likeness(&password, part) >= TOO_SIMILAR)
    });
    similar.map(|(field, _)| field)
}

/// How much of two texts is of the same characters, from 0 to 1: `quick_ratio` of Python's difflib.
fn likeness(a: &str, b: &str) -> f64 {
    let (length_a, length_b) = (a.chars().count(), b.chars().count());
    if b.is_empty() || length_a >= 10 * length_b {
        return 0.0;
    }
    let mut left: HashMap<char, usize> = HashMap::new();
    for c in b.chars() {
        *left.entry(c).or_default() += 1;
    }
    let mut same = 0_u32;
    for c in a.chars() {
        if let Some(count) = left.get_mut(&c).filter(|count| **count > 0) {
            *count -= 1;
            same += 1;
        }
    }
    let both = u32::try_from(length_a + length_b).unwrap_or(u32::MAX);
    2.0 * f64::from(same) / f64::from(both)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Object;

    fn account() -> Profile {
        Profile {
            username: "margaret".into(),
            email: "m.hamilton@apollo.example".into(),
            first_name: "Margarete".into(),
            last_name: "Hámilton".into(),
            is_active: true,
            is_staff: false,
            attributes: Object::new(),
        }
    }

    fn problems(rules: PasswordRules, password: &str) -> Vec<String> {
        let errors = rules.check(&Password::new(password), &account());
        assert!(errors.iter().all(|error| error.field == "password"));
        errors.into_iter().map(|error| error.message).collect()
    }

    #[test]
    fn new_passwords_pass_the_four_rules() {
        let all = PasswordRules::default();
        for good in [
            "correct horse battery",
            "xkq-7-vost",
            "Пароль-из-слов",
            "日本語のパスワード",
        ] {
            assert_eq!(problems(all, good), [""; 0], "{good}");
        }
        for (weak, part) in [
            ("", "at least 8"),
            ("x7-kv", "at least 8"),
            // Four letters that are eight characters before they are normalised.
            ("e\u{301}e\u{301}e\u{301}e\u{301}", "at least 8"),
            ("margaret1", "username"),
            ("MARGARET", "username"),
            ("ｍargaret", "username"),
            ("teragram", "username"),
            ("apollo-7", "e-mail"),
            ("example.apollo", "e-mail"),
            ("Hámilton!", "last name"),
            ("password", "common"),
            ("PassWord ", "common"),
            ("ｐａｓｓｗｏｒｄ", "common"),
            ("qwertyuiop", "common"),
            ("735019284621", "digits"),
            ("٧٣٥٠١٩٢٨", "digits"),
            ("７３５０１９２８", "digits"),
            (&"x".repeat(1025), "at most"),
        ] {
            let found = problems(all, weak);
            assert!(
                found.iter().any(|it| it.contains(part)),
                "{weak}: {found:?}"
            );
        }
        // All of them at once.
        assert_eq!(problems(all, "123456").len(), 3);
    }

    #[test]
    fn each_rule_can_be_switched_off() {
        let all = PasswordRules::default();
        let off = [
            (
                PasswordRules {
                    min_chars: 3,
                    ..all
                },
                "vk7",
            ),
            (
                PasswordRules {
                    refuse_similar: false,
                    ..all
                },
                "margaret-7q",
            ),
            (
                PasswordRules {
                    refuse_common: false,
                    ..all
                },
                "password",
            ),
            (
                PasswordRules {
                    refuse_numeric: false,
                    ..all
                },
                "735019284621",
            ),
        ];
        for (rules, password) in off {
            assert_eq!(problems(rules, password), [""; 0], "{password}");
            assert_eq!(problems(all, password).len(), 1, "{password}");
        }
    }

    #[test]
    fn the_list_is_the_whole_list() {
        assert_eq!(COMMON.len(), 19_640);
    }
}

//! What callers may propose for a user.

use super::identity::{kept_email, kept_username};
use super::model::Profile;
use crate::auth::{Password, Typed};
use crate::json::{Object, ObjectChange};

/// A user to be created.
#[derive(Debug, Clone)]
pub struct CreateUser {
    /// Sign-in name.
    pub username: String,
    /// E-mail address.
    pub email: String,
    /// Without one the account cannot sign in by password.
    pub password: Option<Password>,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// May sign in.
    pub is_active: bool,
    /// May manage users; only a superuser may set it.
    pub is_staff: bool,
    /// Free-form data.
    pub attributes: Object,
}

impl CreateUser {
    /// The proposed record; the password is no part of it.
    pub(super) fn profile(&self) -> Profile {
        Profile {
            username: kept_username(&self.username),
            email: kept_email(&self.email),
            first_name: self.first_name.clone(),
            last_name: self.last_name.clone(),
            is_active: self.is_active,
            is_staff: self.is_staff,
            attributes: self.attributes.clone(),
        }
    }
}

/// New values for a user; what is none stays.
#[derive(Debug, Clone, Default)]
pub struct UpdateUser {
    /// Sign-in name.
    pub username: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
    /// Password.
    pub password: Option<Password>,
    /// The password that counts until now, where somebody changes their own password or address.
    pub current: Option<Typed>,
    /// First name.
    pub first_name: Option<String>,
    /// Last name.
    pub last_name: Option<String>,
    /// May sign in.
    pub is_active: Option<bool>,
    /// May manage users; only a superuser may change it.
    pub is_staff: Option<bool>,
    /// Free-form data.
    pub attributes: Option<ObjectChange>,
    /// The revision that the change was made for; another one is not overwritten.
    pub expected: Option<i64>,
}

impl UpdateUser {
    /// The fields of a record that may be damaged, and whether this sets them.
    pub(super) fn fields(&self) -> [(&'static str, bool); 5] {
        let attributes = matches!(self.attributes, Some(ObjectChange::Replace(_)));
        [
            ("username", self.username.is_some()),
            ("email", self.email.is_some()),
            ("first_name", self.first_name.is_some()),
            ("last_name", self.last_name.is_some()),
            ("attributes", attributes),
        ]
    }

    /// The record with the new values in place.
    pub(crate) fn applied_to(&self, before: &Profile) -> Profile {
        let new = self.clone();
        let old = before.clone();
        // What is sent back as it was read stays as it is.
        let username = new.username.filter(|name| *name != old.username);
        let email = new.email.filter(|email| *email != old.email);
        Profile {
            username: username.map_or(old.username, |name| kept_username(&name)),
            email: email.map_or(old.email, |email| kept_email(&email)),
            first_name: new.first_name.unwrap_or(old.first_name),
            last_name: new.last_name.unwrap_or(old.last_name),
            is_active: new.is_active.unwrap_or(old.is_active),
            is_staff: new.is_staff.unwrap_or(old.is_staff),
            attributes: match new.attributes {
                Some(change) => change.applied_to(old.attributes),
                None => old.attributes,
            },
        }
    }
}

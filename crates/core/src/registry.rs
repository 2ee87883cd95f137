//! The event catalogue: what each event type is, carries and lets functions change.
//!
//! The Rust types are the source; JSON Schema and sample are derived from them. A sensitive value
//! (a password) is not a parameter at all.

use crate::event::EventType;
use crate::function::Object;
use crate::ids::UserId;
use crate::time::Timestamp;
use crate::users::{Profile, User};
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// The complete user, as events and the API show it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct UserParams {
    /// The user's number.
    pub id: UserId,
    /// The same number, under the name that the API document's examples use.
    pub user_id: UserId,
    /// The same user's UUID.
    #[schemars(with = "String")]
    pub uuid: Uuid,
    /// Sign-in name.
    pub username: String,
    /// E-mail address.
    pub email: String,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// First and last name.
    pub full_name: String,
    /// May sign in.
    pub is_active: bool,
    /// May manage users.
    pub is_staff: bool,
    /// May do everything in the site.
    pub is_superuser: bool,
    /// Was deleted.
    pub is_deleted: bool,
    /// When the account was created.
    pub date_joined: Timestamp,
    /// When it last signed in.
    pub last_login: Option<Timestamp>,
    /// Free-form data.
    pub attributes: Object,
    /// Role slugs.
    pub roles: Vec<String>,
    /// When the record was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl From<&User> for UserParams {
    fn from(user: &User) -> Self {
        let profile = user.profile.clone();
        Self {
            id: user.id,
            user_id: user.id,
            uuid: user.uuid,
            full_name: user.full_name(),
            username: profile.username,
            email: profile.email,
            first_name: profile.first_name,
            last_name: profile.last_name,
            is_active: profile.is_active,
            is_staff: profile.is_staff,
            is_superuser: user.is_superuser,
            is_deleted: user.is_deleted,
            date_joined: user.date_joined,
            last_login: user.last_login,
            attributes: profile.attributes,
            roles: user.roles.clone(),
            created_at: user.created_at,
            updated_at: user.updated_at,
        }
    }
}

/// What `PRE_USER_UPDATE` carries: the proposed values, whose they are, and those before.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct UserUpdateProposal {
    /// The user's number.
    pub id: UserId,
    /// The same number again.
    pub user_id: UserId,
    /// The proposed values.
    #[serde(flatten)]
    pub proposed: Profile,
    /// The values before.
    pub previous: Profile,
}

/// What `POST_USER_UPDATE` carries.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct UserUpdated {
    /// The user as it stands now.
    #[serde(flatten)]
    pub user: UserParams,
    /// The values before.
    pub previous: Profile,
}

/// An event ready to be published: its type and the parameters that belong to that type.
#[derive(Debug, Clone)]
pub enum Event {
    /// A user is about to be created.
    PreUserCreate(Profile),
    /// A user was created.
    PostUserCreate(Box<UserParams>),
    /// A user is about to be changed.
    PreUserUpdate(Box<UserUpdateProposal>),
    /// A user was changed.
    PostUserUpdate(Box<UserUpdated>),
    /// A user is about to be deleted.
    PreUserDelete(Box<UserParams>),
    /// A user was deleted.
    PostUserDelete(Box<UserParams>),
}

impl Event {
    /// Its type.
    pub const fn event_type(&self) -> EventType {
        match self {
            Self::PreUserCreate(_) => EventType::PreUserCreate,
            Self::PostUserCreate(_) => EventType::PostUserCreate,
            Self::PreUserUpdate(_) => EventType::PreUserUpdate,
            Self::PostUserUpdate(_) => EventType::PostUserUpdate,
            Self::PreUserDelete(_) => EventType::PreUserDelete,
            Self::PostUserDelete(_) => EventType::PostUserDelete,
        }
    }

    /// Its parameters as JSON.
    pub fn params(&self) -> crate::json::JsonText {
        use crate::json::JsonText;
        let text = match self {
            Self::PreUserCreate(params) => JsonText::of(params),
            Self::PostUserCreate(params)
            | Self::PreUserDelete(params)
            | Self::PostUserDelete(params) => JsonText::of(params),
            Self::PreUserUpdate(params) => JsonText::of(params),
            Self::PostUserUpdate(params) => JsonText::of(params),
        };
        // These types have string keys only and no failing `Serialize`.
        text.unwrap_or_else(|_| JsonText::null())
    }

    /// Reads parameters of the given type, for samples from a file.
    ///
    /// # Errors
    /// When they are not that event's parameters.
    pub fn read(event: EventType, params: &Value) -> Result<Self, serde_json::Error> {
        Ok(match event {
            EventType::PreUserCreate => Self::PreUserCreate(Profile::deserialize(params)?),
            EventType::PostUserCreate => Self::PostUserCreate(Deserialize::deserialize(params)?),
            EventType::PreUserUpdate => Self::PreUserUpdate(Deserialize::deserialize(params)?),
            EventType::PostUserUpdate => Self::PostUserUpdate(Deserialize::deserialize(params)?),
            EventType::PreUserDelete => Self::PreUserDelete(Deserialize::deserialize(params)?),
            EventType::PostUserDelete => Self::PostUserDelete(Deserialize::deserialize(params)?),
        })
    }
}

/// One entry of the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct EventSpec {
    /// The event type.
    pub event: EventType,
    /// When it is triggered, for people.
    pub description: &'static str,
    /// The fields that a PRE function may change.
    pub enrichable: &'static [&'static str],
}

/// What functions may change of a proposed user: not who it is, nor what it may do.
const PROFILE_FIELDS: &[&str] = &[
    "email",
    "first_name",
    "last_name",
    "is_active",
    "attributes",
];

/// The catalogue's entry for `event`.
pub const fn spec(event: EventType) -> EventSpec {
    let (description, enrichable): (_, &'static [&'static str]) = match event {
        EventType::PreUserCreate => (
            "Before a user is created. Every subscriber must agree.",
            PROFILE_FIELDS,
        ),
        EventType::PostUserCreate => ("After a user was created.", &[]),
        EventType::PreUserUpdate => (
            "Before a user is changed. Every subscriber must agree.",
            PROFILE_FIELDS,
        ),
        EventType::PostUserUpdate => ("After a user was changed.", &[]),
        EventType::PreUserDelete => (
            "Before a user is deleted. Every subscriber must agree.",
            &[],
        ),
        EventType::PostUserDelete => ("After a user was deleted.", &[]),
    };
    EventSpec {
        event,
        description,
        enrichable,
    }
}

impl EventSpec {
    /// JSON Schema (draft 2020-12) of the parameters.
    pub fn schema(&self) -> Value {
        self.schema_with(SchemaSettings::draft2020_12())
    }

    /// The same in one piece, to stand within another document.
    pub fn inline_schema(&self) -> Value {
        self.schema_with(SchemaSettings::draft2020_12().with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        }))
    }

    fn schema_with(&self, settings: SchemaSettings) -> Value {
        let mut generator = SchemaGenerator::new(settings);
        let schema = match self.event {
            EventType::PreUserCreate => generator.root_schema_for::<Profile>(),
            EventType::PostUserCreate | EventType::PreUserDelete | EventType::PostUserDelete => {
                generator.root_schema_for::<UserParams>()
            }
            EventType::PreUserUpdate => generator.root_schema_for::<UserUpdateProposal>(),
            EventType::PostUserUpdate => generator.root_schema_for::<UserUpdated>(),
        };
        schema.to_value()
    }

    /// An event with made-up but valid parameters.
    pub fn sample_event(&self) -> Event {
        let user = sample_user();
        let before = Profile {
            first_name: "Jon".into(),
            ..user.profile.clone()
        };
        let params = Box::new(UserParams::from(&user));
        match self.event {
            EventType::PreUserCreate => Event::PreUserCreate(user.profile),
            EventType::PostUserCreate => Event::PostUserCreate(params),
            EventType::PreUserUpdate => Event::PreUserUpdate(Box::new(UserUpdateProposal {
                id: user.id,
                user_id: user.id,
                proposed: user.profile,
                previous: before,
            })),
            EventType::PostUserUpdate => Event::PostUserUpdate(Box::new(UserUpdated {
                user: *params,
                previous: before,
            })),
            EventType::PreUserDelete => Event::PreUserDelete(params),
            EventType::PostUserDelete => Event::PostUserDelete(Box::new(UserParams {
                is_deleted: true,
                ..*params
            })),
        }
    }

    /// The sample's parameters.
    pub fn sample(&self) -> Value {
        self.sample_event().params().to_value()
    }
}

fn sample_user() -> User {
    let joined = Timestamp::from_micros(1_736_937_000_000_000);
    let mut attributes = Object::new();
    attributes.insert("plan".into(), "free".into());
    User {
        id: UserId(123),
        uuid: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001),
        profile: Profile {
            username: "john_doe".into(),
            email: "john@example.com".into(),
            first_name: "John".into(),
            last_name: "Doe".into(),
            is_active: true,
            is_staff: false,
            attributes,
        },
        is_superuser: false,
        is_deleted: false,
        date_joined: joined,
        last_login: None,
        roles: Vec::new(),
        created_at: joined,
        updated_at: joined,
        revision: 1,
        damaged: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_a_valid_event_of_its_type() {
        for event in EventType::ALL {
            let spec = spec(event);
            let read = Event::read(event, &spec.sample()).unwrap();
            assert_eq!(read.event_type(), event);
            assert_eq!(read.params().to_value(), spec.sample());
        }
    }

    #[test]
    fn every_schema_names_the_samples_fields_and_no_password() {
        for event in EventType::ALL {
            let schema = spec(event).schema();
            let properties = schema["properties"].as_object().unwrap();
            for field in spec(event).sample().as_object().unwrap().keys() {
                assert!(properties.contains_key(field), "{event} lacks {field}");
            }
            for field in spec(event).enrichable {
                assert!(
                    properties.contains_key(*field),
                    "{event} cannot enrich {field}"
                );
            }
            assert!(!schema.to_string().contains("password"), "{event}");
        }
    }
}

//! The events of users: what each is, carries and lets functions change.
//!
//! Must never carry a password, or what users set for themselves.

use super::model::{Profile, User};
use crate::events::{
    Announcement, Catalogue, EventSpec, EventType, LifecycleEvent, RegisteredTwice,
};
use crate::ids::UserId;
use crate::json::Object;
use crate::time::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use uuid::Uuid;

crate::event_types! {
    /// Before a user is created.
    pub PRE_USER_CREATE,
    /// After a user was created.
    pub POST_USER_CREATE,
    /// Before a user is changed.
    pub PRE_USER_UPDATE,
    /// After a user was changed.
    pub POST_USER_UPDATE,
    /// Before a user is deleted.
    pub PRE_USER_DELETE,
    /// After a user was deleted.
    pub POST_USER_DELETE,
    /// After the creation of a user was refused.
    pub POST_USER_CREATE_DENIED,
    /// After the change of a user was refused.
    pub POST_USER_UPDATE_DENIED,
    /// After the deletion of a user was refused.
    pub POST_USER_DELETE_DENIED,
}

/// What functions may change of a proposed user: not who it is, nor what it may do.
const PROFILE_FIELDS: &[&str] = &[
    "email",
    "first_name",
    "last_name",
    "is_active",
    "attributes",
];

/// Adds them to the catalogue, in the order of the API's list.
///
/// # Errors
/// When one of their names is taken.
pub fn register(catalogue: &mut Catalogue) -> Result<(), RegisteredTwice> {
    let pre_create = "Before a user is created. Every subscriber must agree.";
    let pre_update = "Before a user is changed. Every subscriber must agree.";
    let pre_delete = "Before a user is deleted. Every subscriber must agree.";
    let specs = [
        EventSpec::announcing::<UserCreateProposal>(pre_create).with_enrichable(PROFILE_FIELDS),
        EventSpec::of::<UserCreated>("After a user was created."),
        EventSpec::announcing::<UserUpdateProposal>(pre_update).with_enrichable(PROFILE_FIELDS),
        EventSpec::of::<UserUpdated>("After a user was changed."),
        EventSpec::announcing::<UserDeleteProposal>(pre_delete),
        EventSpec::of::<UserDeleted>("After a user was deleted."),
    ];
    specs
        .into_iter()
        .try_for_each(|spec| catalogue.register(spec))
}

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

/// What `PRE_USER_CREATE` carries: the proposed values.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserCreateProposal(pub Profile);

/// What `POST_USER_CREATE` carries: the user as it stands now.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserCreated(pub UserParams);

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

/// What `PRE_USER_DELETE` carries: the user as it stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserDeleteProposal(pub UserParams);

/// What `POST_USER_DELETE` carries: the user, marked as deleted.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserDeleted(pub UserParams);

/// Gives types that only name the event of their values the schema of those values: a derived one would
/// describe the name.
macro_rules! described_by {
    ($($event:ident: $values:ident),+ $(,)?) => {$(
        impl JsonSchema for $event {
            fn inline_schema() -> bool {
                $values::inline_schema()
            }

            fn schema_name() -> Cow<'static, str> {
                $values::schema_name()
            }

            fn schema_id() -> Cow<'static, str> {
                $values::schema_id()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                $values::json_schema(generator)
            }
        }
    )+};
}

described_by! {
    UserCreateProposal: Profile,
    UserCreated: UserParams,
    UserDeleteProposal: UserParams,
    UserDeleted: UserParams,
}

impl Announcement for UserCreateProposal {
    const DENIED: EventType = POST_USER_CREATE_DENIED;
}

impl LifecycleEvent for UserCreateProposal {
    const TYPE: EventType = PRE_USER_CREATE;

    fn sample() -> Self {
        Self(sample_user().profile)
    }
}

impl LifecycleEvent for UserCreated {
    const TYPE: EventType = POST_USER_CREATE;

    fn sample() -> Self {
        Self(UserParams::from(&sample_user()))
    }
}

impl Announcement for UserUpdateProposal {
    const DENIED: EventType = POST_USER_UPDATE_DENIED;
}

impl LifecycleEvent for UserUpdateProposal {
    const TYPE: EventType = PRE_USER_UPDATE;

    fn sample() -> Self {
        let user = sample_user();
        Self {
            id: user.id,
            user_id: user.id,
            previous: sample_previous(&user),
            proposed: user.profile,
        }
    }
}

impl LifecycleEvent for UserUpdated {
    const TYPE: EventType = POST_USER_UPDATE;

    fn sample() -> Self {
        let user = sample_user();
        Self {
            user: UserParams::from(&user),
            previous: sample_previous(&user),
        }
    }
}

impl Announcement for UserDeleteProposal {
    const DENIED: EventType = POST_USER_DELETE_DENIED;
}

impl LifecycleEvent for UserDeleteProposal {
    const TYPE: EventType = PRE_USER_DELETE;

    fn sample() -> Self {
        Self(UserParams::from(&sample_user()))
    }
}

impl LifecycleEvent for UserDeleted {
    const TYPE: EventType = POST_USER_DELETE;

    fn sample() -> Self {
        Self(UserParams {
            is_deleted: true,
            ..UserParams::from(&sample_user())
        })
    }
}

/// What the sample of a changed user had before.
fn sample_previous(user: &User) -> Profile {
    Profile {
        first_name: "Jon".into(),
        ..user.profile.clone()
    }
}

/// The sample's user, for events that name one.
pub(crate) fn sample_params() -> UserParams {
    UserParams::from(&sample_user())
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

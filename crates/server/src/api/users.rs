//! Users. The same routes stand under `/api` and `/api/cloud`.

use crate::envelope::{ListReply, Nothing, Reply};
use crate::error::ApiError;
use crate::extract::{
    Caller, Can, Change, ClientAddress, Conditions, Creation, Flag, IfMatch, IfNoneMatch, Json,
    PageQuery, Paging, Path, Query, Updates, given, set, tagged,
};
use crate::once::{Once, holding};
use crate::state::AppState;
use crate::views::{AppView, UserView};
use crate::words;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;
use tollgate_core::auth::{Password, Typed};
use tollgate_core::draft::{Draft, Faults};
use tollgate_core::json::{Object, ObjectChange};
use tollgate_core::numbers::{self, Integers};
use tollgate_core::ports::store::{UserOrder, UserQuery};
use tollgate_core::rights::{Principal, right};
use tollgate_core::users::{self, PreferencesChange};
use tollgate_core::validation::FieldError;
use tollgate_core::{limits, strict_json};
use utoipa::{IntoParams, ToSchema};

/// A user to be created.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateUser {
    username: String,
    email: String,
    /// Without one the account cannot sign in by password.
    password: Option<String>,
    /// The password again.
    confirm_password: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    /// True unless set.
    is_active: Option<bool>,
    is_staff: Option<bool>,
    /// An object, or a string that holds one.
    #[serde(default, deserialize_with = "object")]
    #[schema(value_type = Option<Object>)]
    attributes: Option<Box<RawValue>>,
}

/// Create User
///
/// `PRE_USER_CREATE` first: every subscribed function must agree.
#[utoipa::path(post, path = "/users/", tag = "users", operation_id = "users_create",
    params(Once), request_body = CreateUser,
    responses((status = CREATED, body = Reply<UserView>), Once, ApiError))]
pub(crate) async fn create(
    State(app): State<AppState>,
    Can(access): Can<right::UsersManage>,
    Creation(request, once): Creation<CreateUser>,
) -> Result<Response, ApiError> {
    let input = request.map(|user, faults| users::CreateUser {
        password: password(user.password, user.confirm_password.as_deref(), faults),
        username: user.username,
        email: user.email,
        first_name: user.first_name.unwrap_or_default(),
        last_name: user.last_name.unwrap_or_default(),
        is_active: user.is_active.unwrap_or(true),
        is_staff: user.is_staff.unwrap_or(false),
        attributes: attributes(user.attributes.as_deref(), faults),
    });
    let users = &app.accounts()?.users;
    let create = |remember| users.create(&access, input, remember);
    once.answer(&app, holding(&app, &access), created, create)
        .await
}

fn created(user: users::User) -> (StatusCode, Reply<UserView>) {
    Reply::new("User created successfully", user.into()).created()
}

/// Which users to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct UserFilter {
    /// Part of username, e-mail, first or last name.
    search: Option<String>,
    #[param(value_type = Option<bool>)]
    is_active: Option<Flag>,
    #[param(value_type = Option<bool>)]
    is_staff: Option<Flag>,
    #[param(value_type = Option<bool>)]
    is_superuser: Option<Flag>,
    #[param(value_type = Option<bool>)]
    is_deleted: Option<Flag>,
    /// Role slugs with commas between: holders of one of them.
    roles: Option<String>,
    /// `-` before it reverses.
    #[param(schema_with = words::user_ordering)]
    ordering: Option<String>,
}

impl UserFilter {
    fn query(self) -> Result<UserQuery, ApiError> {
        let (order, descending) = order(self.ordering.as_deref())?;
        let roles = self.roles.unwrap_or_default();
        let roles = roles
            .split(',')
            .map(str::trim)
            .filter(|role| !role.is_empty());
        Ok(UserQuery {
            search: self.search.filter(|search| !search.is_empty()),
            is_active: self.is_active.map(|flag| flag.0),
            is_staff: self.is_staff.map(|flag| flag.0),
            is_superuser: self.is_superuser.map(|flag| flag.0),
            is_deleted: self.is_deleted.is_some_and(|flag| flag.0),
            roles: roles.map(str::to_owned).collect(),
            order,
            descending,
        })
    }
}

fn order(ordering: Option<&str>) -> Result<(UserOrder, bool), ApiError> {
    let Some(ordering) = ordering else {
        return Ok((UserOrder::default(), false));
    };
    let (field, descending) = match ordering.strip_prefix('-') {
        Some(field) => (field, true),
        None => (ordering, false),
    };
    let order = match field {
        // As users show it as well.
        "created_at" => Some(UserOrder::DateJoined),
        field => UserOrder::from_text(field),
    };
    let message = "Use id, username, email, date_joined or last_login";
    let order = order.ok_or_else(|| ApiError::invalid("ordering", message))?;
    Ok((order, descending))
}

/// List Users
#[utoipa::path(get, path = "/users/", tag = "users", operation_id = "users_list",
    params(UserFilter, PageQuery),
    responses((status = OK, body = ListReply<UserView>), ApiError))]
pub(crate) async fn list(
    State(app): State<AppState>,
    Can(access): Can<right::UsersRead>,
    Query(filter): Query<UserFilter>,
    Paging(page): Paging,
) -> Result<ListReply<UserView>, ApiError> {
    let page = app
        .accounts()?
        .users
        .list(&access, filter.query()?, page)
        .await?;
    let users = page.items.into_iter().map(UserView::from).collect();
    Ok(ListReply::new(
        "Users retrieved successfully",
        users,
        page.total,
    ))
}

/// Get Current User
#[utoipa::path(get, path = "/users/me/", tag = "users", operation_id = "users_me",
    params(IfNoneMatch), responses((status = OK, body = Reply<UserView>), IfNoneMatch, ApiError))]
pub(crate) async fn me(
    Caller(caller): Caller,
    conditions: Conditions,
) -> Result<Response, ApiError> {
    shown(&conditions, caller.somebody()?.clone())
}

/// Get Own Preferences
///
/// With defaults for the fields that clients know and nobody has set.
#[utoipa::path(get, path = "/users/me/preferences/", tag = "users",
    operation_id = "preferences_get", responses((status = OK, body = Reply<Object>), ApiError))]
pub(crate) async fn preferences(
    State(app): State<AppState>,
    Caller(caller): Caller,
) -> Result<Reply<Object>, ApiError> {
    let preferences = app.accounts()?.users.preferences(&caller).await?;
    let message = match preferences.is_damaged {
        false => "Preferences retrieved successfully",
        true => "The stored preferences are damaged; these are the defaults",
    };
    Ok(Reply::new(message, preferences.set))
}

/// Set Own Preferences
///
/// The fields that are given, each as a whole; the others stay. `null` takes a field away.
#[utoipa::path(put, path = "/users/me/preferences/", tag = "users",
    operation_id = "preferences_set", request_body = Object,
    responses((status = OK, body = Reply<Object>), ApiError))]
pub(crate) async fn set_preferences(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Json(fields): Json<Object>,
) -> Result<Reply<Object>, ApiError> {
    let change = fields.map(|fields, _| PreferencesChange::Set(fields));
    change_preferences(&app, &caller, change).await
}

/// Change Own Preferences
///
/// A merge patch (RFC 7396).
#[utoipa::path(patch, path = "/users/me/preferences/", tag = "users",
    operation_id = "preferences_change", request_body = Object,
    responses((status = OK, body = Reply<Object>), ApiError))]
pub(crate) async fn merge_preferences(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Json(patch): Json<Object>,
) -> Result<Reply<Object>, ApiError> {
    let change = patch.map(|patch, _| PreferencesChange::Merge(patch));
    change_preferences(&app, &caller, change).await
}

async fn change_preferences(
    app: &AppState,
    caller: &Principal,
    change: Draft<PreferencesChange>,
) -> Result<Reply<Object>, ApiError> {
    let users = &app.accounts()?.users;
    let preferences = users.change_preferences(caller, change).await?;
    Ok(Reply::new("Preferences updated successfully", preferences))
}

/// Get User
#[utoipa::path(get, path = "/users/{username}/", tag = "users", operation_id = "users_get",
    params(("username" = String, Path, description = "Username"), IfNoneMatch),
    responses((status = OK, body = Reply<UserView>), IfNoneMatch, ApiError))]
pub(crate) async fn get(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Path(username): Path<String>,
    conditions: Conditions,
) -> Result<Response, ApiError> {
    let user = app.accounts()?.users.get(&caller, &username).await?;
    shown(&conditions, user)
}

fn shown(conditions: &Conditions, user: users::User) -> Result<Response, ApiError> {
    let view = UserView::from(user);
    let reply = Reply::new("User retrieved successfully", &view);
    conditions.answer(&view, reply)
}

/// New values for a user; what is absent stays. Names that are `null` become empty, `attributes` as
/// well.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateUser {
    #[serde(default, deserialize_with = "set")]
    username: Option<String>,
    #[serde(default, deserialize_with = "set")]
    email: Option<String>,
    #[serde(default, deserialize_with = "set")]
    password: Option<String>,
    /// The password again.
    #[serde(default, deserialize_with = "set")]
    confirm_password: Option<String>,
    /// The password that counts until now: for a new password or address of one's own.
    #[serde(default, deserialize_with = "set")]
    current_password: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    first_name: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    last_name: Option<Option<String>>,
    #[serde(default, deserialize_with = "set")]
    is_active: Option<bool>,
    #[serde(default, deserialize_with = "set")]
    is_staff: Option<bool>,
    /// An object, or a string that holds one; it replaces the old one, unless the body is a merge
    /// patch.
    #[serde(default, deserialize_with = "changed_object")]
    #[schema(value_type = Option<Object>)]
    attributes: Option<Option<Box<RawValue>>>,
}

impl Updates for UpdateUser {
    const READ_ONLY: &'static [&'static str] = &[
        "id",
        "uuid",
        "full_name",
        "is_superuser",
        "is_deleted",
        "date_joined",
        "last_login",
        "roles",
        "created_at",
        "updated_at",
        "damaged",
    ];
}

impl UpdateUser {
    fn input(self, merges: bool, faults: &mut Faults) -> users::UpdateUser {
        let attributes = self.attributes.map(|given| {
            let object = attributes(given.as_deref(), faults);
            if merges && given.is_some() {
                ObjectChange::Merge(object)
            } else {
                ObjectChange::Replace(object)
            }
        });
        users::UpdateUser {
            password: password(self.password, self.confirm_password.as_deref(), faults),
            username: self.username,
            email: self.email,
            first_name: self.first_name.map(Option::unwrap_or_default),
            last_name: self.last_name.map(Option::unwrap_or_default),
            is_active: self.is_active,
            is_staff: self.is_staff,
            attributes,
            current: None,
            expected: None,
        }
    }
}

/// Update User
///
/// `PRE_USER_UPDATE` first: every subscribed function must agree.
#[utoipa::path(patch, path = "/users/{username}/", tag = "users", operation_id = "users_update",
    params(("username" = String, Path, description = "Username"), IfMatch),
    request_body = UpdateUser,
    responses((status = OK, body = Reply<UserView>), ApiError))]
pub(crate) async fn update(
    State(app): State<AppState>,
    Caller(caller): Caller,
    ClientAddress(address): ClientAddress,
    Path(username): Path<String>,
    Change {
        mut body,
        merges,
        target,
    }: Change<UpdateUser>,
) -> Result<Response, ApiError> {
    let users = &app.accounts()?.users;
    let mut expected = None;
    if target.is_particular() {
        let user = users.get(&caller, &username).await?;
        expected = target.must_match().then_some(user.revision);
        target.check(&UserView::from(user), &mut body)?;
    }
    let input = body.map(|mut user, faults| {
        let current = user.current_password.take().map(|password| Typed {
            password: Password::new(password),
            address,
        });
        users::UpdateUser {
            current,
            expected,
            ..user.input(merges, faults)
        }
    });
    let updated = users.update(&caller, &username, input).await;
    let user = updated.map_err(|error| target.refused(error))?;
    let view = UserView::from(user);
    tagged(&view, Reply::new("User updated successfully", &view))
}

/// Update User (the same as PATCH: existing clients send parts)
#[utoipa::path(put, path = "/users/{username}/", tag = "users", operation_id = "users_replace",
    params(("username" = String, Path, description = "Username"), IfMatch),
    request_body = UpdateUser,
    responses((status = OK, body = Reply<UserView>), ApiError))]
pub(crate) async fn replace(
    state: State<AppState>,
    caller: Caller,
    address: ClientAddress,
    path: Path<String>,
    change: Change<UpdateUser>,
) -> Result<Response, ApiError> {
    update(state, caller, address, path, change).await
}

/// Delete User
///
/// `PRE_USER_DELETE` first. The record is kept, marked as deleted.
#[utoipa::path(delete, path = "/users/{username}/", tag = "users",
    operation_id = "users_delete",
    params(("username" = String, Path, description = "Username"), IfMatch),
    responses((status = OK, body = Reply<Nothing>), ApiError))]
pub(crate) async fn delete(
    State(app): State<AppState>,
    Can(access): Can<right::UsersManage>,
    Path(username): Path<String>,
    conditions: Conditions,
) -> Result<Reply<Nothing>, ApiError> {
    let users = &app.accounts()?.users;
    let mut expected = None;
    if conditions.must_match() {
        let user = users.get(access.principal(), &username).await?;
        expected = Some(user.revision);
        conditions.check(&UserView::from(user))?;
    }
    let deleted = users.delete(&access, &username, expected).await;
    deleted.map_err(|error| conditions.refused(error))?;
    Ok(Reply::new("User deleted successfully", Nothing {}))
}

/// List a User's Apps
#[utoipa::path(get, path = "/users/{username}/apps/", tag = "users",
    operation_id = "users_apps", params(("username" = String, Path, description = "Username")),
    responses((status = OK, body = ListReply<AppView>), ApiError))]
pub(crate) async fn apps(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Path(username): Path<String>,
) -> Result<ListReply<AppView>, ApiError> {
    let apps = app.accounts()?.users.apps(&caller, &username).await?;
    let apps = apps.into_iter().map(AppView::from).collect();
    Ok(ListReply::all("Apps retrieved successfully", apps))
}

/// The password, if it was given; where it was repeated, it must be repeated rightly.
fn password(given: Option<String>, again: Option<&str>, faults: &mut Faults) -> Option<Password> {
    if again.is_some() && again != given.as_deref() && !faults.concern("password") {
        faults.add(FieldError::new("confirm_password", "The passwords differ"));
    }
    given.map(Password::new)
}

/// An object, or a string that holds one: the official client sends the latter. It stays text until it
/// is known to be small enough to be read.
fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    let Some(given) = Option::<Box<RawValue>>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let wrong = || de::Error::custom("Use an object; the text that was sent holds none");
    let object = if given.get().starts_with('"') {
        let inside: String = serde_json::from_str(given.get()).map_err(|_| wrong())?;
        strict_json::check(&inside).map_err(|_| wrong())?;
        let inside = inside.trim();
        if !inside.starts_with('{') {
            return Err(wrong());
        }
        RawValue::from_string(inside.to_owned()).map_err(|_| wrong())?
    } else {
        given
    };
    if !object.get().starts_with('{') {
        return Err(de::Error::custom("Use an object"));
    }
    let bytes = compact_bytes(object.get()).map_err(|_| wrong())?;
    if bytes > limits::ATTRIBUTES_BYTES {
        let most = limits::ATTRIBUTES_BYTES / 1024;
        return Err(de::Error::custom(format_args!("Keep it below {most} KiB")));
    }
    Ok(Some(object))
}

/// The same where `null` means something.
fn changed_object<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<Box<RawValue>>>, D::Error> {
    object(deserializer).map(Some)
}

/// Reads a checked object, whose numbers must all be kept.
fn attributes(given: Option<&RawValue>, faults: &mut Faults) -> Object {
    let Some(text) = given.map(RawValue::get) else {
        return Object::new();
    };
    if let Err(inexact) = numbers::check(text, Integers::Bits64) {
        let path = format!("attributes.{}", inexact.path);
        faults.add(FieldError::new(path, inexact.to_string()));
    }
    serde_json::from_str(text).unwrap_or_else(|error| {
        faults.add(FieldError::new("attributes", error.to_string()));
        Object::new()
    })
}

/// How long a JSON text is without its blanks.
fn compact_bytes(text: &str) -> Result<usize, serde_json::Error> {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    let mut reader = serde_json::Deserializer::from_str(text);
    serde_transcode::transcode(&mut reader, &mut serde_json::Serializer::new(&mut count))?;
    Ok(count.0)
}

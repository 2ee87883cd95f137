//! Users. The same routes stand under `/api` and `/api/cloud`.

use crate::envelope::{ListReply, Nothing, Reply};
use crate::error::ApiError;
use crate::extract::{Caller, Can, Creation, Flag, Json, PageQuery, Paging, Path, Query};
use crate::once::Once;
use crate::state::AppState;
use crate::strict_json;
use crate::views::{AppView, UserView};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::value::RawValue;
use tollgate_core::auth::{Password, right};
use tollgate_core::function::Object;
use tollgate_core::limits;
use tollgate_core::ports::store::{UserOrder, UserQuery};
use tollgate_core::users;
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
    let input = users::CreateUser {
        password: password(request.password, request.confirm_password.as_deref())?,
        username: request.username,
        email: request.email,
        first_name: request.first_name.unwrap_or_default(),
        last_name: request.last_name.unwrap_or_default(),
        is_active: request.is_active.unwrap_or(true),
        is_staff: request.is_staff.unwrap_or(false),
        attributes: attributes(request.attributes.as_deref())?.unwrap_or_default(),
    };
    let users = &app.platform().users;
    let create = |remember| users.create(&access, input, remember);
    once.answer(&app, access.principal(), created, create).await
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
    /// `id`, `username`, `email`, `date_joined` or `last_login`; `-` before it reverses.
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
        return Ok((UserOrder::Id, false));
    };
    let (field, descending) = match ordering.strip_prefix('-') {
        Some(field) => (field, true),
        None => (ordering, false),
    };
    let order = match field {
        "id" => UserOrder::Id,
        "username" => UserOrder::Username,
        "email" => UserOrder::Email,
        "date_joined" | "created_at" => UserOrder::DateJoined,
        "last_login" => UserOrder::LastLogin,
        _ => {
            let message = "Use id, username, email, date_joined or last_login";
            return Err(ApiError::invalid("ordering", message));
        }
    };
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
        .platform()
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
    responses((status = OK, body = Reply<UserView>), ApiError))]
pub(crate) async fn me(Caller(caller): Caller) -> Result<Reply<UserView>, ApiError> {
    let user = caller.somebody()?.clone();
    Ok(Reply::new("User retrieved successfully", user.into()))
}

/// Get User
#[utoipa::path(get, path = "/users/{username}/", tag = "users", operation_id = "users_get",
    params(("username" = String, Path, description = "Username")),
    responses((status = OK, body = Reply<UserView>), ApiError))]
pub(crate) async fn get(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Path(username): Path<String>,
) -> Result<Reply<UserView>, ApiError> {
    let user = app.platform().users.get(&caller, &username).await?;
    Ok(Reply::new("User retrieved successfully", user.into()))
}

/// New values for a user; what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateUser {
    username: Option<String>,
    email: Option<String>,
    password: Option<String>,
    /// The password again.
    confirm_password: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    is_active: Option<bool>,
    is_staff: Option<bool>,
    /// An object, or a string that holds one; it replaces the old one.
    #[schema(value_type = Option<Object>)]
    attributes: Option<Box<RawValue>>,
}

/// Update User
///
/// `PRE_USER_UPDATE` first: every subscribed function must agree.
#[utoipa::path(patch, path = "/users/{username}/", tag = "users", operation_id = "users_update",
    params(("username" = String, Path, description = "Username")), request_body = UpdateUser,
    responses((status = OK, body = Reply<UserView>), ApiError))]
pub(crate) async fn update(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Path(username): Path<String>,
    Json(request): Json<UpdateUser>,
) -> Result<Reply<UserView>, ApiError> {
    let input = users::UpdateUser {
        password: password(request.password, request.confirm_password.as_deref())?,
        username: request.username,
        email: request.email,
        first_name: request.first_name,
        last_name: request.last_name,
        is_active: request.is_active,
        is_staff: request.is_staff,
        attributes: attributes(request.attributes.as_deref())?,
    };
    let user = app
        .platform()
        .users
        .update(&caller, &username, input)
        .await?;
    Ok(Reply::new("User updated successfully", user.into()))
}

/// Update User (the same as PATCH: existing clients send parts)
#[utoipa::path(put, path = "/users/{username}/", tag = "users", operation_id = "users_replace",
    params(("username" = String, Path, description = "Username")), request_body = UpdateUser,
    responses((status = OK, body = Reply<UserView>), ApiError))]
pub(crate) async fn replace(
    state: State<AppState>,
    caller: Caller,
    path: Path<String>,
    body: Json<UpdateUser>,
) -> Result<Reply<UserView>, ApiError> {
    update(state, caller, path, body).await
}

/// Delete User
///
/// `PRE_USER_DELETE` first. The record is kept, marked as deleted.
#[utoipa::path(delete, path = "/users/{username}/", tag = "users",
    operation_id = "users_delete", params(("username" = String, Path, description = "Username")),
    responses((status = OK, body = Reply<Nothing>), ApiError))]
pub(crate) async fn delete(
    State(app): State<AppState>,
    Can(access): Can<right::UsersManage>,
    Path(username): Path<String>,
) -> Result<Reply<Nothing>, ApiError> {
    app.platform().users.delete(&access, &username).await?;
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
    let apps = app.platform().users.apps(&caller, &username).await?;
    let apps = apps.into_iter().map(AppView::from).collect();
    Ok(ListReply::all("Apps retrieved successfully", apps))
}

/// The password, if it was given and, where it was repeated, repeated rightly.
fn password(given: Option<String>, again: Option<&str>) -> Result<Option<Password>, ApiError> {
    if again.is_some() && again != given.as_deref() {
        return Err(ApiError::invalid(
            "confirm_password",
            "The passwords differ",
        ));
    }
    Ok(given.map(Password::new))
}

/// An object, or a string that holds one: the official client sends the latter. As text, until it is
/// known to be small enough to be read.
fn attributes(given: Option<&RawValue>) -> Result<Option<Object>, ApiError> {
    let Some(given) = given.map(RawValue::get).filter(|text| *text != "null") else {
        return Ok(None);
    };
    let inside: String;
    let text = if given.starts_with('"') {
        let wrong = |error: serde_json::Error| {
            let message = format!("The string holds no object: {error}");
            ApiError::invalid("attributes", &message)
        };
        inside = serde_json::from_str(given).map_err(wrong)?;
        strict_json::check(&inside).map_err(wrong)?;
        inside.trim()
    } else {
        given
    };
    if !text.starts_with('{') {
        return Err(ApiError::invalid("attributes", "Use an object"));
    }
    let bytes = compact_bytes(text).map_err(|error| ApiError::internal(error.to_string()))?;
    if bytes > limits::ATTRIBUTES_BYTES {
        let message = format!("Keep it below {} KiB", limits::ATTRIBUTES_BYTES / 1024);
        return Err(ApiError::invalid("attributes", &message));
    }
    let object = serde_json::from_str(text);
    object.map_err(|error| ApiError::internal(format!("a checked object: {error}")))
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

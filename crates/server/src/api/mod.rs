//! The routes, one file per resource. Each handler parses, makes one call into core and maps.

mod api_keys;
mod apps;
mod assets;
mod dead_letters;
mod event_types;
mod events;
mod functions;
mod health;
mod invocations;
mod public;
mod raw;
mod roles;
mod run;
pub(crate) mod secrets;
mod sign_in;
mod stream;
mod users;

use crate::extract::Updates;
use crate::state::AppState;
use std::borrow::Cow;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Every route that the OpenAPI document describes.
pub(crate) fn documented() -> OpenApiRouter<AppState> {
    of_the_engine()
        .merge(accounts())
        .nest("/api", people())
        // The same again under the prefix that cloud clients use.
        .nest("/api/cloud", people())
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
}

/// Those that need no accounts of the platform's.
pub(crate) fn of_the_engine() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .merge(events())
        .merge(apps())
        .merge(runs())
        .merge(secrets())
}

/// The bodies in which what was shown can be sent back, by their names in the document, and what of that
/// nobody can change.
pub(crate) fn sent_back() -> [(Cow<'static, str>, &'static [&'static str]); 6] {
    fn of<T: Updates + ToSchema>() -> (Cow<'static, str>, &'static [&'static str]) {
        (T::name(), T::READ_ONLY)
    }
    [
        of::<apps::UpdateApp>(),
        of::<event_types::UpdateEventType>(),
        of::<events::ChangeSubscription>(),
        of::<functions::UpdateFunction>(),
        of::<secrets::UpdateSecret>(),
        of::<users::UpdateUser>(),
    ]
}

/// Routes that serve files and measurements.
pub(crate) fn undocumented() -> axum::Router<AppState> {
    assets::router()
}

fn events() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(events::list))
        .routes(routes!(events::details))
        .routes(routes!(
            events::subscribe,
            events::subscription,
            events::change_subscription,
            events::replace_subscription
        ))
        .routes(routes!(events::unsubscribe))
        .routes(routes!(events::explain))
        .routes(routes!(events::app_events))
        .routes(routes!(events::app_event))
        .routes(routes!(event_types::create, event_types::list))
        .routes(routes!(
            event_types::get,
            event_types::replace,
            event_types::update,
            event_types::delete
        ))
}

fn apps() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(apps::create, apps::list))
        .routes(routes!(
            apps::get,
            apps::replace,
            apps::update,
            apps::delete
        ))
        .routes(routes!(functions::create, functions::list))
        .routes(routes!(
            functions::get,
            functions::replace,
            functions::update,
            functions::delete
        ))
        .routes(routes!(functions::rotate_secret))
        .routes(routes!(functions::versions))
        .routes(routes!(functions::version))
        .routes(routes!(functions::activate))
}

fn runs() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(run::execute))
        .routes(routes!(
            public::execute_public,
            public::get_public,
            public::put_public,
            public::patch_public,
            public::delete_public
        ))
        .routes(routes!(invocations::list))
        .routes(routes!(invocations::get))
        .routes(routes!(run::replay))
        .routes(routes!(invocations::result))
        .routes(routes!(dead_letters::list))
        .routes(routes!(dead_letters::redrive_many))
        .routes(routes!(dead_letters::get, dead_letters::discard))
        .routes(routes!(dead_letters::redrive))
        .routes(routes!(stream::stream))
}

fn secrets() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(secrets::create, secrets::list))
        .routes(routes!(
            secrets::get,
            secrets::update,
            secrets::change,
            secrets::delete
        ))
}

fn accounts() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(roles::assign))
        .routes(routes!(roles::revoke))
        .routes(routes!(roles::app_roles))
        .routes(routes!(sign_in::open_session))
        .routes(routes!(sign_in::close_session))
        .routes(routes!(
            api_keys::create,
            api_keys::list,
            api_keys::delete_named
        ))
        .routes(routes!(api_keys::delete))
}

/// Users and tokens, which have two prefixes.
fn people() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(users::create, users::list))
        .routes(routes!(users::me))
        .routes(routes!(
            users::preferences,
            users::set_preferences,
            users::merge_preferences
        ))
        .routes(routes!(
            users::get,
            users::replace,
            users::update,
            users::delete
        ))
        .routes(routes!(users::apps))
        .routes(routes!(sign_in::token))
        .routes(routes!(sign_in::refresh))
        .routes(routes!(sign_in::blacklist))
}

//! Operations on apps, functions, subscribers, invocations and dead letters. Users have their own folder.

mod admin;
mod apps;
mod dead_letters;
mod functions;
mod grants;
mod invocations;
mod sources;
mod subscribers;
mod watched;

pub use admin::{AdminService, NewSuperuser, Strength};
pub use apps::{AppService, CreateApp, UpdateApp};
pub use dead_letters::{
    DeadLetterFilter, DeadLetterService, RedriveMany, RedriveSummary, VersionChoice,
};
pub use functions::{
    CreateFunction, CreatedFunction, FunctionService, RotatedSecret, UpdateFunction,
};
pub use grants::RightsInput;
pub use invocations::{Call, Executed, InvocationService};
pub use sources::HeadersChange;
pub use subscribers::{Explain, Subscribe, SubscriberPatch, SubscriberService};

use crate::app::App;
use crate::auth::{Permission, Principal};
use crate::draft::Faults;
use crate::engine::Engine;
use crate::error::Error;
use crate::events::EventSpec;
use crate::filter::Filter;
use crate::ids::AppId;
use crate::ports::store::Visibility;
use crate::users::FieldError;
use crate::{limits, text};

/// An app of the caller's site.
pub(crate) async fn app(engine: &Engine, principal: &Principal, slug: &str) -> Result<App, Error> {
    let app = engine.scoped(principal.scope()).app(slug).await?;
    app.ok_or_else(|| Error::NotFound(format!("App '{}'", text::prefix(slug, 64))))
}

/// Which records a reader of invocations sees: one's own, and those of the apps in which a role says
/// so. None means all.
fn readable_by(principal: &Principal) -> Option<Visibility> {
    let right = Permission::InvocationsRead;
    (!principal.may(right, None)).then(|| Visibility {
        user: principal.user_id(),
        own_in: own_in(principal),
        apps: principal.apps_with(right),
    })
}

/// The app to which a function's view of its caller's own runs is confined.
fn own_in(principal: &Principal) -> Option<AppId> {
    principal.ceilings().last().map(|ceiling| ceiling.app)
}

/// The slug to use: the given one if it is well-formed, else one made of the name.
fn slug(
    given: Option<String>,
    name: &str,
    faults: &Faults,
    errors: &mut Vec<FieldError>,
) -> String {
    let Some(slug) = given else {
        if faults.concern("slug") {
            return String::new();
        }
        let made = text::slugify(text::prefix(name, limits::NAME_CHARS * 4));
        let made = text::slugify(text::prefix(&made, limits::SLUG_CHARS));
        // A name that is blank was refused as such.
        if made.is_empty() && !name.trim().is_empty() {
            let message = "No slug can be made of this name: use a Latin letter or a digit in it, \
                           or set slug yourself";
            errors.push(FieldError::new("name", message));
        }
        return made;
    };
    if slug.is_empty() || slug.len() > limits::SLUG_CHARS || text::slugify(&slug) != slug {
        let message = format!(
            "Use 1 to {} lower-case letters a to z, digits, single dashes and underscores, and \
             begin and end with a letter or digit",
            limits::SLUG_CHARS
        );
        errors.push(FieldError::new("slug", message));
    }
    slug
}

/// A text of one line: what nobody sees, or what turns its order round, has no place in it.
pub(crate) fn check_line(
    field: &'static str,
    line: &str,
    max_chars: usize,
    errors: &mut Vec<FieldError>,
) {
    check_chars(field, line, max_chars, text::is_control_or_format, errors);
}

/// The same for a text that may have several lines.
pub(crate) fn check_text(
    field: &'static str,
    text: &str,
    max_chars: usize,
    errors: &mut Vec<FieldError>,
) {
    let is_unwanted = |c| text::is_control_or_format(c) && !matches!(c, '\n' | '\r' | '\t');
    check_chars(field, text, max_chars, is_unwanted, errors);
}

fn check_chars(
    field: &'static str,
    text: &str,
    max_chars: usize,
    is_unwanted: impl Fn(char) -> bool,
    errors: &mut Vec<FieldError>,
) {
    if text.chars().count() > max_chars {
        let message = format!("Use at most {max_chars} characters");
        errors.push(FieldError::new(field, message));
    } else if let Some(message) = text::unwanted(text, is_unwanted) {
        errors.push(FieldError::new(field, message));
    }
}

/// Name and description of an app or function, where they are new.
fn check_texts(
    (name, description): (&str, &str),
    before: Option<(&str, &str)>,
    errors: &mut Vec<FieldError>,
) {
    if before.is_none_or(|before| before.0 != name) {
        check_name(name, errors);
    }
    if before.is_none_or(|before| before.1 != description) {
        let most = limits::DESCRIPTION_CHARS;
        check_text("description", description, most, errors);
    }
}

/// The name of a thing.
pub(crate) fn check_name(name: &str, errors: &mut Vec<FieldError>) {
    if name.trim().is_empty() {
        errors.push(FieldError::new("name", "This field may not be blank"));
    } else {
        check_line("name", name, limits::NAME_CHARS, errors);
    }
}

/// A time limit of a function or subscription.
fn check_timeout(seconds: Option<f64>, errors: &mut Vec<FieldError>) {
    let (least, most) = (limits::TIMEOUT_MIN, limits::TIMEOUT_MAX);
    let (least, most) = (least.as_secs_f64(), most.as_secs_f64());
    if seconds.is_some_and(|it| !(it >= least && it <= most)) {
        let message = format!("Use {least} to {most} seconds");
        errors.push(FieldError::new("timeout_seconds", message));
    }
}

/// A filter, for `event` or before it is known.
fn check_filter(
    field: &'static str,
    filter: Option<&str>,
    event: Option<&EventSpec>,
    errors: &mut Vec<FieldError>,
) {
    let compiled = filter.map(|text| Filter::compile(text, event));
    if let Some(Err(error)) = compiled {
        let message = match event {
            Some(spec) => format!("For {}: {error}", spec.event),
            None => error.to_string(),
        };
        errors.push(FieldError {
            line: Some(error.line),
            column: Some(error.column),
            ..FieldError::new(field, message)
        });
    }
}

fn check_range(
    field: &'static str,
    value: Option<u32>,
    min: u32,
    max: u32,
    errors: &mut Vec<FieldError>,
) {
    if value.is_some_and(|value| value < min || value > max) {
        errors.push(FieldError::new(field, format!("Use {min} to {max}")));
    }
}

/// What cannot be read would be overwritten with a placeholder, so a change must set it anew. `fields` are
/// those that the change writes, and whether it sets them.
pub(crate) fn check_damaged(
    damaged: &[&'static str],
    fields: &[(&'static str, bool)],
    errors: &mut Vec<FieldError>,
) {
    for (field, is_set) in fields {
        if damaged.contains(field) && !is_set {
            let message = "What is stored here is damaged; set it anew, or restore a backup";
            errors.push(FieldError::new(*field, message));
        }
    }
}

pub(crate) fn refuse(errors: Vec<FieldError>) -> Result<(), Error> {
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Error::Validation(errors))
    }
}

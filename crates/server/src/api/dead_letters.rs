//! Dead letters: runs whose every attempt failed, kept until somebody acts on them.

use super::run::Version;
use crate::envelope::{ListReply, Nothing, Reply};
use crate::error::ApiError;
use crate::extract::{Caller, Json, PageQuery, Paging, Path, Query};
use crate::state::AppState;
use crate::views::InvocationView;
use crate::words;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tollgate_core::draft::{Draft, Faults};
use tollgate_core::error::Error;
use tollgate_core::events::EventType;
use tollgate_core::ids::InvocationId;
use tollgate_core::invocations::{self, DeadLetterFilter, RedriveSummary};
use tollgate_core::rights::Principal;
use tollgate_core::tasks::FailureKind;
use tollgate_core::validation::FieldError;
use utoipa::{IntoParams, ToSchema};

/// Which dead letters are meant.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Of functions with this slug.
    function_slug: Option<String>,
    /// Caused by this event type.
    #[param(schema_with = words::caused_by)]
    event: Option<String>,
    /// Whose last attempt failed like this.
    #[param(schema_with = words::dead_letter_kind)]
    kind: Option<String>,
    /// Of functions of the app with this slug.
    app: Option<String>,
}

impl Filter {
    /// What a query means.
    async fn checked(
        self,
        app: &AppState,
        caller: &Principal,
    ) -> Result<DeadLetterFilter, ApiError> {
        let event = named(app, caller, self.event.as_deref()).await?;
        let draft = Draft::from(self).map(|it, faults| it.read(event, faults));
        Ok(draft.whole()?)
    }

    /// `event` is what became of the event's name.
    fn read(
        self,
        event: Result<Option<EventType>, FieldError>,
        faults: &mut Faults,
    ) -> DeadLetterFilter {
        let event = event.unwrap_or_else(|fault| {
            faults.add(fault);
            None
        });
        let kind = self.kind.and_then(|word| {
            let read = kind(&word);
            read.map_err(|fault| faults.add(fault)).ok()
        });
        DeadLetterFilter {
            function_slug: self.function_slug,
            event,
            kind,
            app_slug: self.app,
        }
    }
}

/// The event type of this name in the caller's site, or what is wrong with the name.
async fn named(
    app: &AppState,
    caller: &Principal,
    name: Option<&str>,
) -> Result<Result<Option<EventType>, FieldError>, ApiError> {
    let Some(name) = name else {
        return Ok(Ok(None));
    };
    match app.services().events.named(caller, name).await {
        Ok(spec) => Ok(Ok(Some(spec.event))),
        Err(Error::InvalidEventType(error)) => Ok(Err(FieldError::new("event", error.to_string()))),
        Err(other) => Err(other.into()),
    }
}

fn kind(word: &str) -> Result<FailureKind, FieldError> {
    let kind = FailureKind::from_text(word).filter(|kind| kind.is_of_dead_letters());
    kind.ok_or_else(|| {
        let kinds = FailureKind::ALL.into_iter();
        let kinds = kinds.filter(|kind| kind.is_of_dead_letters());
        let words: Vec<_> = kinds.map(FailureKind::as_str).collect();
        FieldError::new("kind", format!("Use one of {}", words.join(", ")))
    })
}

/// List Dead Letters
///
/// Newest first, in the shape of invocations: all of them with the permission
/// `invocations.read`, else one's own.
#[utoipa::path(get, path = "/api/dead-letters/", tag = "dead letters",
    operation_id = "dead_letters_list", params(Filter, PageQuery),
    responses((status = OK, body = ListReply<InvocationView>), ApiError))]
pub(crate) async fn list(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Query(filter): Query<Filter>,
    Paging(page): Paging,
) -> Result<ListReply<InvocationView>, ApiError> {
    let dead_letters = &app.services().dead_letters;
    let filter = filter.checked(&app, &caller).await?;
    let page = dead_letters.list(&caller, filter, page).await?;
    let letters = page.items.into_iter().map(InvocationView::of).collect();
    Ok(ListReply::new(
        "Dead letters retrieved successfully",
        letters,
        page.total,
    ))
}

/// Get Dead Letter
#[utoipa::path(get, path = "/api/dead-letters/{id}/", tag = "dead letters",
    operation_id = "dead_letters_get",
    params(("id" = i64, Path, description = "The invocation's number")),
    responses((status = OK, body = InvocationView), ApiError))]
pub(crate) async fn get(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Path(id): Path<i64>,
) -> Result<axum::Json<InvocationView>, ApiError> {
    let dead_letters = &app.services().dead_letters;
    let letter = dead_letters.get(&caller, InvocationId(id)).await?;
    Ok(axum::Json(InvocationView::full(letter)))
}

/// How to run one dead letter again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Redrive {
    /// `active` unless set.
    version: Option<Version>,
}

/// Redrive Dead Letter
///
/// The same task is queued again, before its first attempt. Needs `invocations.redrive` in the
/// function's app.
#[utoipa::path(post, path = "/api/dead-letters/{id}/redrive/", tag = "dead letters",
    operation_id = "dead_letters_redrive",
    params(("id" = i64, Path, description = "The invocation's number")),
    request_body = Redrive,
    responses((status = OK, body = Reply<InvocationView>), ApiError))]
pub(crate) async fn redrive(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Path(id): Path<i64>,
    Json(request): Json<Redrive>,
) -> Result<Reply<InvocationView>, ApiError> {
    let Redrive { version } = request.whole()?;
    let choice = version.unwrap_or_default().into();
    let dead_letters = &app.services().dead_letters;
    let redriven = dead_letters
        .redrive(&caller, InvocationId(id), choice)
        .await?;
    let view = InvocationView::full(redriven);
    Ok(Reply::new("Dead letter redriven successfully", view))
}

/// Which dead letters to run again, and how. Without any filter, `all` must be true.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RedriveMany {
    /// Of functions with this slug.
    function_slug: Option<String>,
    /// Caused by this event type.
    #[schema(schema_with = words::event_or_null)]
    event: Option<String>,
    /// Whose last attempt failed like this.
    #[schema(schema_with = words::dead_letter_kind_or_null)]
    kind: Option<String>,
    /// Of functions of the app with this slug.
    app: Option<String>,
    /// Every dead letter is meant.
    all: Option<bool>,
    /// Most to redrive: 1 to 10,000, which is also the default.
    #[schema(minimum = 1, maximum = 10_000)]
    limit: Option<usize>,
    /// `active` unless set.
    version: Option<Version>,
}

/// What became of them.
#[derive(Serialize, ToSchema)]
pub(crate) struct RedriveView {
    /// Queued again.
    redriven: u64,
    /// Left as they were: their function was deleted or switched off, or somebody was faster.
    skipped: u64,
    /// There are more: repeat the request. If it redrove none, the site has as many runs waiting as
    /// it may, so repeat it later.
    more: bool,
}

impl From<RedriveSummary> for RedriveView {
    fn from(summary: RedriveSummary) -> Self {
        Self {
            redriven: summary.redriven,
            skipped: summary.skipped,
            more: summary.more,
        }
    }
}

/// Redrive Dead Letters
///
/// Those that match, oldest first, in the apps in which the caller has `invocations.redrive`.
#[utoipa::path(post, path = "/api/dead-letters/redrive/", tag = "dead letters",
    operation_id = "dead_letters_redrive_many", request_body = RedriveMany,
    responses((status = OK, body = Reply<RedriveView>), ApiError))]
pub(crate) async fn redrive_many(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Json(request): Json<RedriveMany>,
) -> Result<Reply<RedriveView>, ApiError> {
    let event = named(&app, &caller, request.look().event.as_deref()).await?;
    let asked = request.map(|asked, faults| invocations::RedriveMany {
        choice: asked.version.unwrap_or_default().into(),
        all: asked.all.unwrap_or_default(),
        limit: asked.limit,
        filter: Filter {
            function_slug: asked.function_slug,
            event: asked.event,
            kind: asked.kind,
            app: asked.app,
        }
        .read(event, faults),
    });
    let dead_letters = &app.services().dead_letters;
    let summary = dead_letters.redrive_many(&caller, asked).await?;
    let message = format!("Redrove {} dead letters", summary.redriven);
    Ok(Reply::new(message, summary.into()))
}

/// Discard Dead Letter
///
/// It becomes failed history, which the retention deletes in time. Needs `invocations.redrive` in
/// the function's app.
#[utoipa::path(delete, path = "/api/dead-letters/{id}/", tag = "dead letters",
    operation_id = "dead_letters_discard",
    params(("id" = i64, Path, description = "The invocation's number")),
    responses((status = OK, body = Reply<Nothing>), ApiError))]
pub(crate) async fn discard(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Path(id): Path<i64>,
) -> Result<Reply<Nothing>, ApiError> {
    let dead_letters = &app.services().dead_letters;
    dead_letters.discard(&caller, InvocationId(id)).await?;
    Ok(Reply::new("Dead letter discarded", Nothing {}))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUIDE: &str = include_str!("../../../../docs/guide/functions.md");
    const REFUSED: &str = include_str!("../../../../docs/errors/PRE_EVENT_FAILED.md");

    /// The `kind` words that a text's table explains, or that a list names.
    fn named(kind: FailureKind, text: &str) -> bool {
        text.contains(&format!("`{kind}`"))
    }

    #[test]
    fn every_kind_of_failure_is_documented_where_it_occurs() {
        let params = Filter::into_params(|| None);
        let params = serde_json::to_string(&params).unwrap();
        let (_, letters) = GUIDE.split_once("### Dead letters").unwrap();
        let (letters, _) = letters.split_once("\n### ").unwrap();
        for kind in FailureKind::ALL {
            let dead = kind.is_of_dead_letters();
            let quoted = format!("\"{kind}\"");
            assert_eq!(params.contains(&quoted), dead, "{kind} in OpenAPI");
            assert_eq!(named(kind, letters), dead, "{kind} in the guide");
            assert_eq!(named(kind, REFUSED), kind.is_of_pre_runs(), "{kind}");
            assert_eq!(super::kind(kind.as_str()).is_ok(), dead, "{kind}");
        }
    }
}

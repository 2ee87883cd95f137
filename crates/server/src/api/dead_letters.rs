//! Dead letters: runs whose every attempt failed, kept until somebody acts on them.

use super::run::Version;
use crate::envelope::{ListReply, Nothing, Reply};
use crate::error::ApiError;
use crate::extract::{Caller, Json, PageQuery, Paging, Path, Query};
use crate::state::AppState;
use crate::views::InvocationView;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tollgate_core::error::Error;
use tollgate_core::ids::InvocationId;
use tollgate_core::invocation::FailureKind;
use tollgate_core::services::{DeadLetterFilter, RedriveSummary};
use utoipa::{IntoParams, ToSchema};

/// Which dead letters are meant.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Of functions with this slug.
    function_slug: Option<String>,
    /// Caused by this event type.
    event: Option<String>,
    /// Whose last attempt failed like this: `exception`, `timeout`, `crashed`, `limit`,
    /// `not_json`, `load`, `upstream`, `gone`, `circuit_open`, `inactive`, `unavailable`, `chain`,
    /// `filter`, `lost` or `corrupt`.
    kind: Option<String>,
    /// Of functions of the app with this slug.
    app: Option<String>,
}

impl Filter {
    fn read(self) -> Result<DeadLetterFilter, ApiError> {
        let event = self
            .event
            .map(|name| name.parse())
            .transpose()
            .map_err(Error::from)?;
        let kind = self.kind.map(|word| kind(&word)).transpose()?;
        Ok(DeadLetterFilter {
            function_slug: self.function_slug,
            event,
            kind,
            app_slug: self.app,
        })
    }
}

fn kind(word: &str) -> Result<FailureKind, ApiError> {
    let kind = FailureKind::from_text(word).filter(|kind| kind.is_of_dead_letters());
    kind.ok_or_else(|| {
        let kinds = FailureKind::ALL.into_iter();
        let kinds = kinds.filter(|kind| kind.is_of_dead_letters());
        let words: Vec<_> = kinds.map(FailureKind::as_str).collect();
        ApiError::invalid("kind", &format!("Use one of {}", words.join(", ")))
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
    let dead_letters = &app.platform().dead_letters;
    let page = dead_letters.list(&caller, filter.read()?, page).await?;
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
    let dead_letters = &app.platform().dead_letters;
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
    let choice = request.version.unwrap_or_default().into();
    let dead_letters = &app.platform().dead_letters;
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
    event: Option<String>,
    /// Whose last attempt failed like this.
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
    let choice = request.version.unwrap_or_default().into();
    let all = request.all.unwrap_or_default();
    let filter = Filter {
        function_slug: request.function_slug,
        event: request.event,
        kind: request.kind,
        app: request.app,
    };
    let dead_letters = &app.platform().dead_letters;
    let summary = dead_letters
        .redrive_many(&caller, filter.read()?, all, request.limit, choice)
        .await?;
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
    let dead_letters = &app.platform().dead_letters;
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
            assert_eq!(named(kind, &params), dead, "{kind} in OpenAPI");
            assert_eq!(named(kind, letters), dead, "{kind} in the guide");
            assert_eq!(named(kind, REFUSED), kind.is_of_pre_runs(), "{kind}");
            assert_eq!(super::kind(kind.as_str()).is_ok(), dead, "{kind}");
        }
    }
}

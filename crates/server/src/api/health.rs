//! Whether the server lives, and whether it can work.

use crate::error::{ApiError, Code};
use crate::state::AppState;
use crate::words;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use tollgate_core::confinement::{Confinement, Wall};
use tollgate_core::ports::store::Reason;
use utoipa::ToSchema;

/// How the server is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    #[schema(schema_with = words::ok)]
    status: &'static str,
}

/// Liveness: the process answers.
#[utoipa::path(get, path = "/healthz", tag = "health", operation_id = "healthz", security(()),
    responses((status = OK, body = Health)))]
pub(crate) async fn healthz() -> axum::Json<Health> {
    axum::Json(Health { status: "ok" })
}

/// What the server can do.
#[derive(Serialize, ToSchema)]
pub(crate) struct Readiness {
    #[schema(schema_with = words::ok)]
    status: &'static str,
    #[schema(schema_with = words::ok)]
    database: &'static str,
    /// What each runtime says of itself.
    runtimes: Vec<RuntimeHealth>,
}

#[derive(Serialize, ToSchema)]
struct RuntimeHealth {
    healthy: bool,
    detail: String,
    /// How function code is confined; null where nothing runs or nothing is to be confined.
    confinement: Option<ConfinementView>,
}

#[derive(Serialize, ToSchema)]
struct ConfinementView {
    /// Whether there are walls at all.
    sandbox: bool,
    /// The walls that stand.
    #[schema(schema_with = words::walls)]
    walls: Vec<String>,
    /// Those that do not.
    missing: Vec<MissingWall>,
}

#[derive(Serialize, ToSchema)]
struct MissingWall {
    #[schema(schema_with = words::wall)]
    wall: String,
    /// What it means that it is missing.
    meaning: &'static str,
    reason: String,
}

impl ConfinementView {
    fn of(confinement: &Confinement) -> Self {
        let Confinement::On(walls) = confinement else {
            return Self {
                sandbox: false,
                walls: Vec::new(),
                missing: Vec::new(),
            };
        };
        let standing = Wall::ALL.into_iter().filter(|&wall| walls.stands(wall));
        Self {
            sandbox: true,
            walls: standing.map(|wall| wall.to_string()).collect(),
            missing: walls
                .missing()
                .map(|(wall, reason)| MissingWall {
                    wall: wall.to_string(),
                    meaning: wall.without(),
                    reason: reason.to_owned(),
                })
                .collect(),
        }
    }
}

/// Readiness: the database answers too, and every loop goes on. A runtime that cannot run is told, and stops nothing else.
#[utoipa::path(get, path = "/readyz", tag = "health", operation_id = "readyz", security(()),
    responses((status = OK, body = Readiness), ApiError))]
pub(crate) async fn readyz(State(app): State<AppState>) -> Result<axum::Json<Readiness>, ApiError> {
    let platform = app.services();
    if let Some(fault) = app.config().supervisor.fault() {
        let message = format!("The server is about to end: {fault}");
        let status = StatusCode::SERVICE_UNAVAILABLE;
        return Err(ApiError::new(status, Code::ServiceUnavailable, message));
    }
    if let Err(error) = platform.store.system(Reason::Administer).ping().await {
        tracing::warn!(error = %error, "the database does not answer: {error}");
        let message = "The database does not answer";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        return Err(ApiError::new(status, Code::ServiceUnavailable, message));
    }
    let runtimes = platform.runtimes.all().map(|runtime| {
        let confinement = runtime.confinement();
        let confinement = confinement.as_ref().map(ConfinementView::of);
        let health = runtime.health();
        let healthy = health.is_ok();
        let (Ok(detail) | Err(detail)) = health;
        RuntimeHealth {
            healthy,
            detail,
            confinement,
        }
    });
    Ok(axum::Json(Readiness {
        status: "ok",
        database: "ok",
        runtimes: runtimes.collect(),
    }))
}

//! One effect for each `Idempotency-Key`: what stands around the call of a creating handler.
//!
//! A handler gives the call and the view of its result; a repeated request never reaches the call, so
//! whoever asks must still hold the right to it: an answer that was given before does not outlive it.
//! Without the header nothing here costs anything. What may be answered twice is core's decision.

use crate::error::ApiError;
use crate::state::AppState;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::collections::BTreeMap;
use std::future::Future;
use tollgate_core::error::Error;
use tollgate_core::idempotency::{Answer, Begun, KeyOwner, KeyedRequest, Remember};
use tollgate_core::limits;
use tollgate_core::rights::{Access, Principal};
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Required, Response as ResponseDoc};
use utoipa::{IntoParams, IntoResponses};

/// The header of a client's key.
pub(crate) const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Marks an answer that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The key of a creating request, if its client sent one.
pub(crate) struct Once(pub(crate) Option<KeyedRequest>);

/// Who sends a request, and the check that they may, made when their turn has come.
pub(crate) struct Asker<F> {
    owner: KeyOwner,
    may: F,
}

impl<F: Future<Output = Result<(), Error>>> Asker<F> {
    /// Somebody who may if `may` says so.
    pub(crate) fn who(caller: &Principal, may: F) -> Self {
        Self {
            owner: caller.into(),
            may,
        }
    }
}

/// Somebody who may as long as this access is theirs.
pub(crate) fn holding<'a, A: Access>(
    app: &'a AppState,
    access: &'a A,
) -> Asker<impl Future<Output = Result<(), Error>> + 'a> {
    let may = async { app.services().still(access).await.map(drop) };
    Asker::who(access.asker(), may)
}

/// How a call came out.
enum Outcome<T> {
    /// It was made before.
    Replayed(Response),
    /// It was made now, and this answer is stored.
    Made(T, Option<Answer>),
}

impl Once {
    /// Calls `create` unless that was answered before. The first caller gets what is stored for
    /// the others, byte by byte.
    ///
    /// # Errors
    /// Those of `create`; 409 when the key was used for another request.
    pub(crate) async fn answer<T, V, R, F>(
        self,
        app: &AppState,
        asker: Asker<impl Future<Output = Result<(), Error>>>,
        view: V,
        create: impl FnOnce(Option<Remember<T>>) -> F,
    ) -> Result<Response, ApiError>
    where
        T: Clone + Send + 'static,
        V: Fn(T) -> (StatusCode, R) + Copy + Send + Sync + 'static,
        R: Serialize,
        F: Future<Output = Result<T, Error>>,
    {
        match self.run(app, asker, view, create).await? {
            Outcome::Replayed(response) => Ok(response),
            Outcome::Made(_, Some(answer)) => response(&answer),
            Outcome::Made(made, None) => {
                let (status, body) = view(made);
                Ok((status, axum::Json(body)).into_response())
            }
        }
    }

    /// The same for an answer that must not be kept: a repeated request gets `kept` instead.
    ///
    /// # Errors
    /// As [`Self::answer`].
    pub(crate) async fn secret<T, M, K, S, R, F>(
        self,
        app: &AppState,
        asker: Asker<impl Future<Output = Result<(), Error>>>,
        kept: impl Fn(M) -> (StatusCode, K) + Send + Sync + 'static,
        create: impl FnOnce(Option<Remember<M>>) -> F,
        shown: S,
    ) -> Result<Response, ApiError>
    where
        M: Clone + Send + 'static,
        K: Serialize,
        S: FnOnce(T) -> R,
        R: IntoResponse,
        F: Future<Output = Result<T, Error>>,
    {
        match self.run(app, asker, kept, create).await? {
            Outcome::Replayed(response) => Ok(response),
            Outcome::Made(made, _) => Ok(shown(made).into_response()),
        }
    }

    async fn run<T, M, K, F>(
        self,
        app: &AppState,
        asker: Asker<impl Future<Output = Result<(), Error>>>,
        kept: impl Fn(M) -> (StatusCode, K) + Send + Sync + 'static,
        create: impl FnOnce(Option<Remember<M>>) -> F,
    ) -> Result<Outcome<T>, ApiError>
    where
        M: Clone + Send + 'static,
        K: Serialize,
        F: Future<Output = Result<T, Error>>,
    {
        let Some(request) = self.0 else {
            return Ok(Outcome::Made(create(None).await?, None));
        };
        let (keys, Asker { owner, may }) = (&app.services().idempotency, asker);
        let begun = keys.begin(owner, &request).await?;
        // It may have waited for another one with the same key.
        may.await?;
        let turn = match begun {
            Begun::Answered(answer) => return replayed(&answer).map(Outcome::Replayed),
            Begun::First(turn) => turn,
        };
        let remember = keys.remember(owner, request.clone(), turn, move |made: &M| {
            let (status, body) = kept(made.clone());
            Answer::new(status.as_u16(), &body)
        });
        match create(Some(remember.clone())).await {
            Ok(made) => Ok(Outcome::Made(made, remember.answer())),
            Err(error @ (Error::Forbidden(_) | Error::Unauthenticated(_))) => Err(error.into()),
            // Another process may have answered it meanwhile.
            Err(error) => match keys.answered(owner, &request).await {
                Ok(Some(answer)) => replayed(&answer).map(Outcome::Replayed),
                Ok(None) | Err(_) => Err(error.into()),
            },
        }
    }
}

fn response(answer: &Answer) -> Result<Response, ApiError> {
    let status = StatusCode::from_u16(answer.status)
        .map_err(|_| ApiError::internal("a stored answer has no valid status"))?;
    let body = answer.body.as_str().to_owned();
    Ok((status, [(CONTENT_TYPE, "application/json")], body).into_response())
}

fn replayed(answer: &Answer) -> Result<Response, ApiError> {
    let mut response = response(answer)?;
    response
        .headers_mut()
        .insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

impl IntoParams for Once {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(limits::IDEMPOTENCY_KEY_CHARS))
            .pattern(Some("^[!-~]+$"))
            .build();
        let key = ParameterBuilder::new()
            .name("Idempotency-Key")
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some(
                "A value of your own for this request: repeated with the same key, it has one \
                 effect and one answer. Kept for 24 hours",
            ))
            .schema(Some(schema))
            .build();
        vec![key]
    }
}

impl IntoResponses for Once {
    fn responses() -> BTreeMap<String, RefOr<ResponseDoc>> {
        let conflict =
            "What it names is taken, or the `Idempotency-Key` was used for another request";
        crate::openapi::error_response("409", conflict)
    }
}

//! What the routes answer, as a function gets it: whole, or not at all.

use crate::error::Code;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Deserialize;
use serde_json::value::RawValue;
use tollgate_core::limits;
use tollgate_core::ports::runtime::{HostError, HostErrorKind};

/// A whole answer, as far as one may be as long.
pub(super) async fn collected(body: Body) -> Result<Bytes, HostError> {
    let body = Limited::new(body, limits::HOST_ANSWER_BYTES);
    let whole = body.collect().await;
    let whole = whole.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => {
            let most = limits::HOST_ANSWER_BYTES / 1024 / 1024;
            let message = format!("The answer is larger than {most} MiB; ask for less at once");
            HostError::new(HostErrorKind::TooLarge, message)
        }
        None => HostError::internal(&error),
    });
    Ok(whole?.to_bytes())
}

/// What the official client wants of an answer.
#[derive(Deserialize)]
struct Data {
    data: Box<RawValue>,
}

/// What a refusal says.
#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

pub(super) fn read(
    status: StatusCode,
    answer: &Bytes,
    only_data: bool,
) -> Result<Box<RawValue>, HostError> {
    let strange = |error: serde_json::Error| HostError::internal(&error);
    if status.is_success() {
        return if only_data {
            let answer: Data = serde_json::from_slice(answer).map_err(strange)?;
            Ok(answer.data)
        } else {
            serde_json::from_slice(answer).map_err(strange)
        };
    }
    let Refusal { code, message } = serde_json::from_slice(answer).map_err(strange)?;
    let kind = Code::from_word(&code).map_or(HostErrorKind::Internal, Code::of_host);
    let message = if message.is_empty() {
        "The request failed".to_owned()
    } else {
        message
    };
    Err(HostError::new(kind, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use std::convert::Infallible;

    fn of(chunks: usize, size: usize) -> Body {
        let chunks = (0..chunks).map(move |_| Ok::<_, Infallible>(Bytes::from(vec![b'x'; size])));
        Body::from_stream(stream::iter(chunks))
    }

    /// One that has no end as well: what is beyond the bound is not asked for.
    #[tokio::test]
    async fn an_answer_beyond_the_bound_is_refused() {
        let most = limits::HOST_ANSWER_BYTES;
        assert_eq!(collected(of(8, most / 8)).await.unwrap().len(), most);
        for (chunks, size) in [(9, most / 8), (1, most + 1), (usize::MAX, 4096)] {
            let refused = collected(of(chunks, size)).await.unwrap_err();
            assert_eq!(refused.kind, HostErrorKind::TooLarge);
        }
    }
}

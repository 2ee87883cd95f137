//! `multipart/form-data`: the JSON as the part `function`, the files as an archive or one by one.

use super::{Arrived, archive};
use crate::error::ApiError;
use axum::body::{Body, Bytes};
use multer::{Constraints, Field, Multipart, SizeLimit};
use tollgate_core::functions::Bundle;
use tollgate_core::limits;
use tollgate_core::text::prefix;
use tollgate_core::validation::FieldError;
use utoipa::ToSchema;

/// A function with files beside its code.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes a form, which is read part by part")]
pub(crate) struct FunctionForm {
    /// What the JSON body says, as JSON.
    function: Option<String>,
    /// A tar archive, compressed with gzip or not.
    #[schema(value_type = Option<String>, format = Binary)]
    bundle: Option<Vec<u8>>,
    /// Or each file as a part of its own, with its path as its file name.
    #[schema(value_type = Option<Vec<String>>, format = Binary)]
    files: Option<Vec<Vec<u8>>>,
}

/// Reads a form.
pub(super) async fn read(body: Body, boundary: String) -> Result<Arrived, ApiError> {
    let limits = SizeLimit::new()
        .whole_stream(limits::UPLOAD_BYTES as u64)
        .for_field("function", limits::REQUEST_BODY_BYTES as u64);
    let constraints = Constraints::new().size_limit(limits);
    let stream = body.into_data_stream();
    let mut form = Multipart::with_constraints(stream, boundary, constraints);
    let mut parts = Parts::default();
    while let Some(field) = form.next_field().await.map_err(refused)? {
        parts.add(field).await?;
    }
    let Parts {
        json,
        archive,
        files,
        ..
    } = parts;
    let files = match (archive, files) {
        (Some(_), Some(_)) => {
            return Err(fault(
                "Send an archive as the part bundle, or each file as a part files",
            ));
        }
        (Some(bytes), None) => Some(archive::unpacked(bytes).await?),
        (None, files) => files,
    };
    Ok(Arrived {
        json: json.unwrap_or_else(|| "{}".to_owned()),
        files,
    })
}

#[derive(Default)]
struct Parts {
    count: usize,
    json: Option<String>,
    archive: Option<Bytes>,
    files: Option<Bundle>,
}

impl Parts {
    async fn add(&mut self, field: Field<'_>) -> Result<(), ApiError> {
        self.count += 1;
        if self.count > limits::UPLOAD_PARTS {
            let most = limits::BUNDLE_FILES;
            return Err(fault(&format!("Send at most {most} files")));
        }
        let name = field.name().unwrap_or_default().to_owned();
        match name.as_str() {
            "function" if self.json.is_none() => {
                let bytes = field.bytes().await.map_err(refused)?;
                let text = String::from_utf8(bytes.to_vec())
                    .map_err(|_| ApiError::bad_request("The part 'function' is not UTF-8"))?;
                self.json = Some(text);
            }
            "bundle" if self.archive.is_none() => {
                self.archive = Some(field.bytes().await.map_err(refused)?);
            }
            "files" => {
                let path = field.file_name().unwrap_or_default().to_owned();
                let content = field.bytes().await.map_err(refused)?;
                let files = self.files.get_or_insert_default();
                let added = files.add(&path, content.to_vec());
                added.map_err(|fault| ApiError::faults(vec![fault.into()]))?;
            }
            "function" | "bundle" => {
                return Err(fault(&format!("The part '{name}' stands there twice")));
            }
            other => {
                let shown = prefix(other, 100).escape_default().to_string();
                return Err(fault(&format!(
                    "There is no part '{shown}'; send function (JSON), and bundle (an archive) or files"
                )));
            }
        }
        Ok(())
    }
}

fn fault(message: &str) -> ApiError {
    ApiError::faults(vec![FieldError::new("bundle", message.to_owned())])
}

fn refused(error: multer::Error) -> ApiError {
    match error {
        multer::Error::FieldSizeExceeded { .. } => ApiError::too_large(limits::REQUEST_BODY_BYTES),
        multer::Error::StreamSizeExceeded { .. } => ApiError::too_large(limits::UPLOAD_BYTES),
        error => ApiError::bad_request(format!("The form cannot be read: {error}")),
    }
}

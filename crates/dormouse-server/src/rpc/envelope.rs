//! Results and errors as tRPC writes them.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{ContentType, HeaderName};
use dormouse::{Error, ErrorCode};
use serde_json::{Map, Value, json};

/// The header of an answer whose every call was answered before, and not run again.
pub(crate) const IDEMPOTENT_REPLAY: HeaderName = HeaderName::from_static("idempotent-replay");

/// `{"result":{"data":…}}` around JSON that is already text.
pub(crate) fn result_body(data: &str) -> String {
    format!(r#"{{"result":{{"data":{data}}}}}"#)
}

/// `{"error":{"message","code","data":{"code","httpStatus","path",…}}}`.
pub(crate) fn error_body(err: &Error, path: Option<&str>) -> String {
    json!({ "error": error_shape(err, path) }).to_string()
}

/// What stands in an envelope for an error.
pub(crate) fn error_shape(err: &Error, path: Option<&str>) -> Value {
    let mut data = Map::new();
    data.insert("code".to_owned(), err.code().as_str().into());
    data.insert("httpStatus".to_owned(), http_status(err.code()).as_u16().into());
    if let Some(path) = path {
        data.insert("path".to_owned(), path.into());
    }
    data.extend(err.data().iter().map(|(name, value)| (name.clone(), value.clone())));
    json!({ "message": err.message(), "code": number(err.code()), "data": data })
}

/// An error as the whole answer.
pub(crate) fn respond_error(err: &Error, path: Option<&str>) -> HttpResponse {
    respond(http_status(err.code()), error_body(err, path))
}

/// A JSON answer.
pub(crate) fn respond(status: StatusCode, body: String) -> HttpResponse {
    HttpResponse::build(status).insert_header(ContentType::json()).body(body)
}

/// The HTTP status of a code.
pub(crate) fn http_status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::ParseError | ErrorCode::BadRequest => StatusCode::BAD_REQUEST,
        ErrorCode::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::MethodNotSupported => StatusCode::METHOD_NOT_ALLOWED,
        ErrorCode::Timeout => StatusCode::REQUEST_TIMEOUT,
        ErrorCode::Conflict => StatusCode::CONFLICT,
        ErrorCode::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        ErrorCode::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ErrorCode::UnprocessableContent => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorCode::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::InternalServerError => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// The JSON-RPC 2.0 number that tRPC gives a code.
fn number(code: ErrorCode) -> i32 {
    match code {
        ErrorCode::ParseError => -32_700,
        ErrorCode::BadRequest => -32_600,
        ErrorCode::Unauthorized => -32_001,
        ErrorCode::Forbidden => -32_003,
        ErrorCode::NotFound => -32_004,
        ErrorCode::MethodNotSupported => -32_005,
        ErrorCode::Timeout => -32_008,
        ErrorCode::Conflict => -32_009,
        ErrorCode::PreconditionFailed => -32_012,
        ErrorCode::PayloadTooLarge => -32_013,
        ErrorCode::UnsupportedMediaType => -32_015,
        ErrorCode::UnprocessableContent => -32_022,
        ErrorCode::TooManyRequests => -32_029,
        ErrorCode::InternalServerError | ErrorCode::ServiceUnavailable => -32_603,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_carries_code_status_path_and_what_the_kind_added() {
        let err =
            Error::conflict("the note is at version 2").with("current", &json!({"version": 2}));

        let body: Value = serde_json::from_str(&error_body(&err, Some("note.update"))).unwrap();

        assert_eq!(
            body,
            json!({"error": {
                "message": "the note is at version 2",
                "code": -32009,
                "data": {"code": "CONFLICT", "httpStatus": 409, "path": "note.update", "current": {"version": 2}},
            }})
        );
    }
}

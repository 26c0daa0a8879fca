//! Errors as clients see them.

use std::borrow::Cow;

use dormouse_store::StoreError;
use serde::Serialize;
use serde_json::{Map, Value};

/// Why a call was refused or failed. Clients match on [`ErrorCode`]; the message is for people.
///
/// Build one with the constructor named like the code: `Error::not_found("…")`. Internal causes
/// (SQL, file names) never reach a client: they are kept as the source and logged once, where the
/// error is handled.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    code: ErrorCode,
    message: Cow<'static, str>,
    data: Map<String, Value>,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The stable name of an error on the wire, after tRPC's list. Add variants, never rename one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The input is not JSON.
    ParseError,
    /// The input has the wrong shape or a value out of range. Nothing changed.
    BadRequest,
    /// No valid token.
    Unauthorized,
    /// The token does not allow this.
    Forbidden,
    /// No such object, version or procedure.
    NotFound,
    /// A mutation over GET.
    MethodNotSupported,
    /// The handler took longer than it may. Nothing of it was stored.
    Timeout,
    /// The state is not what the caller expected.
    Conflict,
    /// A condition of the request does not hold.
    PreconditionFailed,
    /// The body or a value is too large.
    PayloadTooLarge,
    /// The body is not JSON by its content type.
    UnsupportedMediaType,
    /// Well-formed and still not acceptable.
    UnprocessableContent,
    /// Slow down.
    TooManyRequests,
    /// A fault of the server. Nothing of the call was stored.
    InternalServerError,
    /// Overloaded, starting or stopping. Nothing happened; retry later.
    ServiceUnavailable,
}

impl ErrorCode {
    /// Spelling on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            ErrorCode::ParseError => "PARSE_ERROR",
            ErrorCode::BadRequest => "BAD_REQUEST",
            ErrorCode::Unauthorized => "UNAUTHORIZED",
            ErrorCode::Forbidden => "FORBIDDEN",
            ErrorCode::NotFound => "NOT_FOUND",
            ErrorCode::MethodNotSupported => "METHOD_NOT_SUPPORTED",
            ErrorCode::Timeout => "TIMEOUT",
            ErrorCode::Conflict => "CONFLICT",
            ErrorCode::PreconditionFailed => "PRECONDITION_FAILED",
            ErrorCode::PayloadTooLarge => "PAYLOAD_TOO_LARGE",
            ErrorCode::UnsupportedMediaType => "UNSUPPORTED_MEDIA_TYPE",
            ErrorCode::UnprocessableContent => "UNPROCESSABLE_CONTENT",
            ErrorCode::TooManyRequests => "TOO_MANY_REQUESTS",
            ErrorCode::InternalServerError => "INTERNAL_SERVER_ERROR",
            ErrorCode::ServiceUnavailable => "SERVICE_UNAVAILABLE",
        }
    }
}

/// What a client sees of an internal fault. The cause is in the server's log.
const INTERNAL_MESSAGE: &str = "the server failed on this call; nothing of it was stored";

impl Error {
    /// An error with a code and a sentence for people.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Error {
        Error { code, message: message.into(), data: Map::new(), source: None }
    }

    /// BAD_REQUEST: the input has the wrong shape or a value out of range.
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(ErrorCode::BadRequest, message)
    }

    /// FORBIDDEN: the caller may not.
    pub fn forbidden(message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(ErrorCode::Forbidden, message)
    }

    /// UNAUTHORIZED: nobody knows who calls.
    pub fn unauthorized(message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(ErrorCode::Unauthorized, message)
    }

    /// NOT_FOUND: there is no such thing.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(ErrorCode::NotFound, message)
    }

    /// CONFLICT: the state is not what the caller expected.
    pub fn conflict(message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(ErrorCode::Conflict, message)
    }

    /// SERVICE_UNAVAILABLE: nothing happened, retry later.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(ErrorCode::ServiceUnavailable, message)
    }

    /// INTERNAL_SERVER_ERROR with a cause for the log. The client gets a fixed sentence.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error {
            code: ErrorCode::InternalServerError,
            message: Cow::Borrowed(INTERNAL_MESSAGE),
            data: Map::new(),
            source: Some(source.into()),
        }
    }

    /// Adds a field that clients find under `error.data`, beside `code`.
    ///
    /// A value that JSON cannot hold is left out.
    #[must_use]
    pub fn with(mut self, field: &str, value: &impl Serialize) -> Error {
        if let Ok(value) = serde_json::to_value(value) {
            self.data.insert(field.to_owned(), value);
        }
        self
    }

    /// The stable code.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// The sentence for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What [`with`](Self::with) added.
    pub fn data(&self) -> &Map<String, Value> {
        &self.data
    }

    /// Whether a person must look at the server's log because of it.
    pub fn is_fault(&self) -> bool {
        self.code == ErrorCode::InternalServerError
    }
}

impl From<rusqlite::Error> for Error {
    /// SQL that a handler ran and did not expect to fail.
    fn from(err: rusqlite::Error) -> Error {
        match err.sqlite_error_code() {
            // The progress handler ended it.
            Some(rusqlite::ErrorCode::OperationInterrupted) => {
                Error::new(ErrorCode::Timeout, "the call took too long and was undone")
            }
            Some(rusqlite::ErrorCode::DiskFull) => Error {
                source: Some(Box::new(err)),
                ..Error::unavailable("no space left to store this; nothing changed")
            },
            // One value is over the bound that the store sets on a whole transaction.
            Some(rusqlite::ErrorCode::TooBig) => Error {
                source: Some(Box::new(err)),
                ..Error::new(
                    ErrorCode::PayloadTooLarge,
                    "the call stores too much at once; nothing changed",
                )
            },
            _ => Error::internal(err),
        }
    }
}

impl From<StoreError> for Error {
    fn from(err: StoreError) -> Error {
        let public = match &err {
            StoreError::Unavailable(_) | StoreError::NotDurable => Error::unavailable(
                "the store cannot take this now; nothing changed, try again later",
            ),
            StoreError::DiskFull(_) => {
                Error::unavailable("no space left to store this; nothing changed")
            }
            StoreError::SqlTimeout => {
                Error::new(ErrorCode::Timeout, "the call took too long and was undone")
            }
            StoreError::TransactionTooLarge { .. } => Error::new(
                ErrorCode::PayloadTooLarge,
                "the call stores too much at once; nothing changed",
            ),
            StoreError::RolledBack
            | StoreError::ReadOnly
            | StoreError::SummaryTooLarge { .. }
            | StoreError::NewerSchema { .. }
            | StoreError::ForeignFile { .. }
            | StoreError::Io { .. }
            | StoreError::Sqlite(_) => Error::new(ErrorCode::InternalServerError, INTERNAL_MESSAGE),
        };
        Error { source: Some(Box::new(err)), ..public }
    }
}

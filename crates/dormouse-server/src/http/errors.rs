//! Errors outside of RPC: `{"error":{"code","message"}}`.

use actix_http::{Response, StatusCode};
use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

/// Why a request outside of RPC was refused.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Fields beside `code` and `message`.
    details: Map<String, Value>,
    /// The whole body in place of JSON.
    words: Option<&'static str>,
}

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
    ) -> Problem {
        Problem {
            status,
            code,
            message: message.into(),
            headers: Vec::new(),
            details: Map::new(),
            words: None,
        }
    }

    /// 404.
    pub(crate) fn not_found(message: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "NOT_FOUND", message)
    }

    /// 503 with `Retry-After` in seconds.
    pub(crate) fn unavailable(message: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE", message)
            .header(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }

    #[must_use]
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Problem {
        self.headers.push((name, value));
        self
    }

    /// Adds a field to the error.
    #[must_use]
    pub(crate) fn detail(mut self, name: &str, value: Value) -> Problem {
        self.details.insert(name.to_owned(), value);
        self
    }

    /// Says this in plain text, and nothing else.
    #[must_use]
    pub(crate) fn in_words(mut self, words: &'static str) -> Problem {
        self.words = Some(words);
        self
    }

    fn content_type(&self) -> HeaderValue {
        let is_text = self.words.is_some();
        HeaderValue::from_static(if is_text { "text/plain" } else { "application/json" })
    }

    fn body(&self) -> String {
        if let Some(words) = self.words {
            return words.to_owned();
        }
        let mut error = Map::new();
        error.insert("code".to_owned(), self.code.into());
        error.insert("message".to_owned(), self.message.as_str().into());
        error.extend(self.details.clone());
        json!({ "error": error }).to_string()
    }

    /// As an answer of the application.
    pub(crate) fn respond(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.insert_header((header::CONTENT_TYPE, self.content_type()));
        for (name, value) in &self.headers {
            response.insert_header((name.clone(), value.clone()));
        }
        response.body(self.body())
    }

    /// As an answer below the application, to a handshake.
    pub(crate) fn into_response(self) -> Response<bytes::Bytes> {
        let (body, content_type) = (self.body(), self.content_type());
        let mut response = Response::with_body(self.status, bytes::Bytes::from(body));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, content_type);
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        response
    }
}

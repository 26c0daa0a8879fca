//! What a request on the tRPC wire asks for: one call, or a batch.

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use dormouse::{Error, ErrorCode, IdempotencyKey};
use serde_json::{Map, Value};

use crate::json::{self, JsonError};

/// Most calls in one batch.
const BATCH_CALLS_MAX: usize = 100;

/// The header of a mutation that may be repeated.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Whether a request may change anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// GET: queries only.
    Get,
    /// POST: queries and mutations.
    Post,
}

/// A request whose form is right. Its calls may still be wrong, each on its own.
#[derive(Debug)]
pub(crate) struct RpcRequest {
    pub(crate) verb: Verb,
    /// A batch is answered by an array, also of one call.
    pub(crate) is_batch: bool,
    pub(crate) calls: Vec<RpcCall>,
}

/// One call.
#[derive(Debug)]
pub(crate) struct RpcCall {
    pub(crate) path: String,
    /// `None` if the call has no input.
    pub(crate) input: Result<Option<Value>, Error>,
    /// With it a mutation runs once, however often the request is repeated.
    pub(crate) key: Option<IdempotencyKey>,
}

impl RpcRequest {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// What is wrong with the request as a whole. Input that is not JSON is an error of each call.
    pub(crate) fn parse(
        method: &Method,
        path: &str,
        query: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<RpcRequest, Error> {
        let verb = match *method {
            Method::GET => Verb::Get,
            Method::POST => Verb::Post,
            _ => {
                let message =
                    format!("{method} is not supported; use GET for queries, POST for mutations");
                return Err(Error::new(ErrorCode::MethodNotSupported, message));
            }
        };
        let query = Query::parse(query);
        let text = match verb {
            Verb::Get => query.input.as_deref().unwrap_or_default(),
            Verb::Post => {
                check_content_type(headers.get(header::CONTENT_TYPE), body)?;
                body
            }
        };
        let key = idempotency_key(headers)?;
        let input = parse_input(text);
        if !query.is_batch {
            let calls = vec![RpcCall { path: path.to_owned(), input, key }];
            return Ok(RpcRequest { verb, is_batch: false, calls });
        }

        let paths: Vec<&str> = path.split(',').collect();
        if paths.len() > BATCH_CALLS_MAX {
            let message =
                format!("a batch has at most {BATCH_CALLS_MAX} calls, not {}", paths.len());
            return Err(Error::bad_request(message));
        }
        let mut inputs = BatchInputs::of(input);
        let calls = paths
            .into_iter()
            .enumerate()
            .map(|(index, path)| RpcCall {
                path: path.to_owned(),
                input: inputs.take(index),
                key: key.as_ref().map(|key| key.of_batch(index)),
            })
            .collect();
        Ok(RpcRequest { verb, is_batch: true, calls })
    }
}

/// The inputs of a batch: one JSON object whose fields are the places of the calls.
enum BatchInputs {
    Each(Map<String, Value>),
    Wrong(ErrorCode, String),
}

impl BatchInputs {
    fn of(input: Result<Option<Value>, Error>) -> BatchInputs {
        match input {
            Ok(None) => BatchInputs::Each(Map::new()),
            Ok(Some(Value::Object(inputs))) => BatchInputs::Each(inputs),
            Ok(Some(_)) => {
                let message = r#"the inputs of a batch are one object: {"0":…,"1":…}"#;
                BatchInputs::Wrong(ErrorCode::BadRequest, message.to_owned())
            }
            Err(err) => BatchInputs::Wrong(err.code(), err.message().to_owned()),
        }
    }

    fn take(&mut self, index: usize) -> Result<Option<Value>, Error> {
        match self {
            BatchInputs::Each(inputs) => Ok(inputs.remove(&index.to_string())),
            BatchInputs::Wrong(code, message) => Err(Error::new(*code, message.clone())),
        }
    }
}

/// What the query string says. Other names are ignored: proxies and tools add them.
struct Query {
    is_batch: bool,
    input: Option<Vec<u8>>,
}

impl Query {
    fn parse(query: &str) -> Query {
        let mut parsed = Query { is_batch: false, input: None };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "batch" => parsed.is_batch = value == "1",
                "input" => parsed.input = Some(value.into_owned().into_bytes()),
                _ => {}
            }
        }
        parsed
    }
}

fn parse_input(text: &[u8]) -> Result<Option<Value>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    json::parse(text).map(Some).map_err(|err| match err {
        JsonError::Syntax(_) => Error::new(ErrorCode::ParseError, format!("the input is {err}")),
        JsonError::TooDeep => Error::bad_request(err.to_string()),
    })
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Error> {
    let mut keys = headers.get_all(&IDEMPOTENCY_KEY);
    let Some(key) = keys.next() else { return Ok(None) };
    if keys.next().is_some() {
        return Err(Error::bad_request("a request has one `Idempotency-Key`"));
    }
    // What is not visible ASCII is refused below, in words.
    IdempotencyKey::new(key.to_str().unwrap_or_default()).map(Some)
}

/// A body must say that it is JSON: a page of another origin can send anything else without the
/// browser asking us first.
fn check_content_type(content_type: Option<&HeaderValue>, body: &[u8]) -> Result<(), Error> {
    if body.is_empty() {
        return Ok(());
    }
    let essence = content_type
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(|value| value.trim().to_ascii_lowercase());
    match essence.as_deref() {
        Some("application/json") => Ok(()),
        Some(other) => Err(Error::new(
            ErrorCode::UnsupportedMediaType,
            format!("Unsupported content-type \"{other}\"; send application/json"),
        )),
        None => Err(Error::new(
            ErrorCode::UnsupportedMediaType,
            "missing content-type header; send application/json",
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn get(path: &str, query: &str) -> Result<RpcRequest, Error> {
        RpcRequest::parse(&Method::GET, path, query, &HeaderMap::new(), b"")
    }

    fn post(path: &str, query: &str, body: &str) -> Result<RpcRequest, Error> {
        let headers = of_type("application/json; charset=utf-8");
        RpcRequest::parse(&Method::POST, path, query, &headers, body.as_bytes())
    }

    fn of_type(content_type: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers
    }

    fn keys(query: &str, keys: &[&'static str]) -> Result<Vec<Option<String>>, Error> {
        let mut headers = of_type("application/json");
        for key in keys {
            headers.append(IDEMPOTENCY_KEY, HeaderValue::from_static(key));
        }
        let request = RpcRequest::parse(&Method::POST, "a.b,c.d", query, &headers, b"{}")?;
        Ok(request.calls.iter().map(|call| call.key.as_ref().map(ToString::to_string)).collect())
    }

    fn inputs(request: RpcRequest) -> Vec<Option<Value>> {
        request.calls.into_iter().map(|call| call.input.unwrap()).collect()
    }

    #[test]
    fn a_single_call_has_its_input_in_the_query_or_in_the_body() {
        assert_eq!(inputs(get("a.b", "input=%7B%22x%22%3A1%7D").unwrap()), [Some(json!({"x": 1}))]);
        assert_eq!(inputs(post("a.b", "", r#"{"x":1}"#).unwrap()), [Some(json!({"x": 1}))]);
        assert_eq!(inputs(get("a.b", "").unwrap()), [None]);
        assert_eq!(inputs(post("a.b", "", "").unwrap()), [None]);
    }

    #[test]
    fn a_batch_finds_each_input_by_its_place() {
        let request = post("a.b,c.d,e.f", "batch=1", r#"{"0":{"x":1},"2":3}"#).unwrap();

        assert!(request.is_batch);
        assert_eq!(request.calls[1].path, "c.d");
        assert_eq!(inputs(request), [Some(json!({"x": 1})), None, Some(json!(3))]);
    }

    #[test]
    fn input_that_is_not_json_is_an_error_of_every_call() {
        let request = post("a.b,c.d", "batch=1", "{").unwrap();

        let codes: Vec<_> =
            request.calls.into_iter().map(|call| call.input.unwrap_err().code()).collect();
        assert_eq!(codes, [ErrorCode::ParseError; 2]);
    }

    #[test]
    fn what_is_wrong_with_the_whole_request_is_one_error() {
        let code = |result: Result<RpcRequest, Error>| result.unwrap_err().code();
        let paths = vec!["a.b"; BATCH_CALLS_MAX + 1].join(",");

        assert_eq!(code(get(&paths, "batch=1")), ErrorCode::BadRequest);
        assert_eq!(
            code(RpcRequest::parse(&Method::PUT, "a.b", "", &HeaderMap::new(), b"")),
            ErrorCode::MethodNotSupported
        );
        for headers in [of_type("text/plain"), HeaderMap::new()] {
            assert_eq!(
                code(RpcRequest::parse(&Method::POST, "a.b", "", &headers, b"{}")),
                ErrorCode::UnsupportedMediaType
            );
        }
    }

    #[test]
    fn a_key_belongs_to_the_call_and_in_a_batch_to_each_with_its_place() {
        assert_eq!(keys("", &[]).unwrap(), [None]);
        assert_eq!(keys("", &["k"]).unwrap(), [Some("k".to_owned())]);
        assert_eq!(
            keys("batch=1", &["k"]).unwrap(),
            [Some("k/0".to_owned()), Some("k/1".to_owned())]
        );
    }

    #[test]
    fn two_keys_and_keys_that_are_none_are_refused() {
        for wrong in [&["a", "b"][..], &["a", "a"], &[""], &["a b"], &["a\tb"]] {
            assert_eq!(keys("", wrong).unwrap_err().code(), ErrorCode::BadRequest, "{wrong:?}");
        }
    }
}

//! The tRPC wire, checked as it is read: an answer that is no envelope is a failure.

use std::io;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::http::{Connection, Request, Response};
use crate::server::Server;

/// One row of the contract's table of error codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorRow {
    /// `error.data.code`.
    pub code: &'static str,
    /// `error.code`.
    pub number: i64,
    /// `error.data.httpStatus`, and the status of an answer with one call.
    pub status: u16,
}

/// The contract's table of error codes.
pub const ERROR_CODES: [ErrorRow; 15] = [
    ErrorRow { code: "PARSE_ERROR", number: -32_700, status: 400 },
    ErrorRow { code: "BAD_REQUEST", number: -32_600, status: 400 },
    ErrorRow { code: "UNAUTHORIZED", number: -32_001, status: 401 },
    ErrorRow { code: "FORBIDDEN", number: -32_003, status: 403 },
    ErrorRow { code: "NOT_FOUND", number: -32_004, status: 404 },
    ErrorRow { code: "METHOD_NOT_SUPPORTED", number: -32_005, status: 405 },
    ErrorRow { code: "TIMEOUT", number: -32_008, status: 408 },
    ErrorRow { code: "CONFLICT", number: -32_009, status: 409 },
    ErrorRow { code: "PRECONDITION_FAILED", number: -32_012, status: 412 },
    ErrorRow { code: "PAYLOAD_TOO_LARGE", number: -32_013, status: 413 },
    ErrorRow { code: "UNSUPPORTED_MEDIA_TYPE", number: -32_015, status: 415 },
    ErrorRow { code: "UNPROCESSABLE_CONTENT", number: -32_022, status: 422 },
    ErrorRow { code: "TOO_MANY_REQUESTS", number: -32_029, status: 429 },
    ErrorRow { code: "INTERNAL_SERVER_ERROR", number: -32_603, status: 500 },
    ErrorRow { code: "SERVICE_UNAVAILABLE", number: -32_603, status: 503 },
];

/// The answer to one call: a result or an error, in tRPC's form.
#[derive(Clone, Debug)]
pub struct Envelope(Value);

/// An error as a client sees it.
#[derive(Clone, Debug)]
pub struct RpcError {
    /// `error.data.code`.
    pub code: String,
    /// `error.message`.
    pub message: String,
    /// `error.data`, whole.
    pub data: Value,
}

/// The answer to a request with one call.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP side of it.
    pub response: Response,
    envelope: Envelope,
}

/// A caller with a connection that is kept alive.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
}

impl Envelope {
    /// Reads one envelope.
    ///
    /// # Panics
    ///
    /// If it is neither of the two forms.
    pub fn new(value: Value) -> Envelope {
        let fields = value.as_object().unwrap_or_else(|| panic!("no envelope: {value}"));
        let is_one =
            fields.len() == 1 && (fields.contains_key("result") || fields.contains_key("error"));
        assert!(is_one, "no envelope: {value}");
        Envelope(value)
    }

    /// What the call gave.
    ///
    /// # Panics
    ///
    /// If it failed.
    pub fn data(&self) -> &Value {
        self.0.pointer("/result/data").unwrap_or_else(|| panic!("the call failed: {}", self.0))
    }

    /// Why the call failed. Everything about the error is checked against the contract's table.
    ///
    /// # Panics
    ///
    /// If it did not fail, or the error has not the right form.
    pub fn error(&self) -> RpcError {
        let error = self.0.get("error").unwrap_or_else(|| panic!("the call succeeded: {}", self.0));
        let data = error["data"].clone();
        let code = data["code"].as_str().unwrap_or_else(|| panic!("no code: {}", self.0));
        let row = ERROR_CODES
            .iter()
            .find(|row| row.code == code)
            .unwrap_or_else(|| panic!("{code} is not in the contract"));
        assert_eq!(error["code"], row.number, "{}", self.0);
        assert_eq!(data["httpStatus"], row.status, "{}", self.0);
        let message = error["message"].as_str().unwrap_or_default();
        assert!(!message.is_empty(), "no message: {}", self.0);
        RpcError { code: code.to_owned(), message: message.to_owned(), data }
    }

    /// Whether it is a result.
    pub fn is_data(&self) -> bool {
        self.0.get("result").is_some()
    }
}

impl Answer {
    /// Reads the answer to one call that was not in a batch.
    ///
    /// # Panics
    ///
    /// If it is no envelope, or status and envelope say different things.
    pub fn new(response: Response) -> Answer {
        let envelope = Envelope::new(response.json());
        let status = if envelope.is_data() {
            json!(200)
        } else {
            envelope.error().data["httpStatus"].clone()
        };
        assert_eq!(json!(response.status), status, "status and envelope differ: {response:?}");
        Answer { response, envelope }
    }

    /// What the call gave.
    ///
    /// # Panics
    ///
    /// If it failed.
    pub fn data(&self) -> &Value {
        self.envelope.data()
    }

    /// Why the call failed.
    ///
    /// # Panics
    ///
    /// If it did not.
    pub fn error(&self) -> RpcError {
        self.envelope.error()
    }

    /// The code of the error.
    ///
    /// # Panics
    ///
    /// If it did not fail.
    pub fn code(&self) -> String {
        self.error().code
    }

    /// Whether the call gave a result.
    pub fn is_data(&self) -> bool {
        self.envelope.is_data()
    }
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    ///
    /// Nobody listens there.
    pub async fn open(address: SocketAddr) -> io::Result<Client> {
        Ok(Client { connection: Connection::open(address).await? })
    }

    /// Calls a mutation.
    ///
    /// # Errors
    ///
    /// The connection broke. Whether the call was applied is unknown.
    pub async fn mutate(&mut self, path: &str, input: &Value) -> io::Result<Answer> {
        let request = Request::post_json(format!("/rpc/{path}"), input.to_string());
        self.connection.send(&request).await.map(Answer::new)
    }

    /// Calls a query.
    ///
    /// # Errors
    ///
    /// The connection broke.
    pub async fn query(&mut self, path: &str, input: &Value) -> io::Result<Answer> {
        let request = Request::get(query_target(&format!("/rpc/{path}"), input));
        self.connection.send(&request).await.map(Answer::new)
    }
}

impl Server {
    /// A caller with its own connection.
    ///
    /// # Panics
    ///
    /// If the server does not listen.
    pub async fn client(&self) -> Client {
        Client::open(self.address()).await.expect("the server listens")
    }

    /// Calls a mutation over a connection of its own.
    ///
    /// # Panics
    ///
    /// If there is no answer, or it is no envelope.
    pub async fn mutate(&self, path: &str, input: Value) -> Answer {
        self.client().await.mutate(path, &input).await.expect("a call is answered")
    }

    /// Calls a query over a connection of its own.
    ///
    /// # Panics
    ///
    /// If there is no answer, or it is no envelope.
    pub async fn query(&self, path: &str, input: Value) -> Answer {
        self.client().await.query(path, &input).await.expect("a call is answered")
    }

    /// Sends one request and reads its answer as that of one call.
    ///
    /// # Panics
    ///
    /// If there is no answer, or it is no envelope.
    pub async fn answer(&self, request: &Request) -> Answer {
        Answer::new(self.send(request).await)
    }

    /// Sends a batch and reads its answer: the HTTP status, and one envelope for each call.
    ///
    /// # Panics
    ///
    /// If there is no answer, or it is no array of envelopes.
    pub async fn batch(&self, request: &Request) -> (u16, Vec<Envelope>) {
        let response = self.send(request).await;
        match response.json() {
            Value::Array(values) => {
                (response.status, values.into_iter().map(Envelope::new).collect())
            }
            other => panic!("a batch is answered by an array, not {other}"),
        }
    }
}

/// The address of a query with this input.
pub(crate) fn query_target(path: &str, input: &Value) -> String {
    format!("{path}?input={}", percent_encode(&input.to_string()))
}

/// Everything but letters and digits as `%XX`.
pub fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            encoded += &format!("%{byte:02X}");
        }
    }
    encoded
}

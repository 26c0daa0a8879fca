//! The documents say everything that a client can meet.

use std::fs;

use dormouse::ErrorCode;
use e2e::ERROR_CODES;

/// Every close code that this version can send, or names as meaningful to clients.
const CLOSE_CODES: [u16; 10] = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013];

/// Every type of message that a socket of this version sends or takes beside events.
const MESSAGE_TYPES: [&str; 13] = [
    "initial",
    "resumed",
    "auth",
    "authorized",
    "call",
    "result",
    "error",
    "filter",
    "filtered",
    "ping",
    "pong",
    "presence_state",
    "presence_diff",
];

/// All codes. The `match` makes a new one a compile error here.
fn error_codes() -> [ErrorCode; 15] {
    let all = [
        ErrorCode::ParseError,
        ErrorCode::BadRequest,
        ErrorCode::Unauthorized,
        ErrorCode::Forbidden,
        ErrorCode::NotFound,
        ErrorCode::MethodNotSupported,
        ErrorCode::Timeout,
        ErrorCode::Conflict,
        ErrorCode::PreconditionFailed,
        ErrorCode::PayloadTooLarge,
        ErrorCode::UnsupportedMediaType,
        ErrorCode::UnprocessableContent,
        ErrorCode::TooManyRequests,
        ErrorCode::InternalServerError,
        ErrorCode::ServiceUnavailable,
    ];
    for code in all {
        match code {
            ErrorCode::ParseError
            | ErrorCode::BadRequest
            | ErrorCode::Unauthorized
            | ErrorCode::Forbidden
            | ErrorCode::NotFound
            | ErrorCode::MethodNotSupported
            | ErrorCode::Timeout
            | ErrorCode::Conflict
            | ErrorCode::PreconditionFailed
            | ErrorCode::PayloadTooLarge
            | ErrorCode::UnsupportedMediaType
            | ErrorCode::UnprocessableContent
            | ErrorCode::TooManyRequests
            | ErrorCode::InternalServerError
            | ErrorCode::ServiceUnavailable => {}
        }
    }
    all
}

fn protocol() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol.md");
    fs::read_to_string(path).unwrap_or_else(|err| panic!("{path}: {err}"))
}

/// Whether a text has this word, not as a part of another one.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let is_apart =
            |char: Option<char>| char.is_none_or(|char| !char.is_alphanumeric() && char != '_');
        is_apart(text[..at].chars().next_back()) && is_apart(text[at + word.len()..].chars().next())
    })
}

#[test]
fn every_error_code_is_in_the_protocol_with_its_status() {
    let protocol = protocol();

    for code in error_codes() {
        let row = ERROR_CODES
            .iter()
            .find(|row| row.code == code.as_str())
            .unwrap_or_else(|| panic!("{} is not in the contract", code.as_str()));
        let status = row.status.to_string();
        let is_documented =
            protocol.lines().any(|line| has_word(line, row.code) && has_word(line, &status));
        assert!(is_documented, "{} with {status} is not in docs/protocol.md", row.code);
    }
}

#[test]
fn every_close_code_is_in_the_protocol() {
    let protocol = protocol();

    for code in CLOSE_CODES {
        assert!(has_word(&protocol, &code.to_string()), "{code} is not in docs/protocol.md");
    }
}

#[test]
fn every_type_of_message_is_in_the_protocol() {
    let protocol = protocol();

    for message_type in MESSAGE_TYPES {
        assert!(
            protocol.contains(&format!("\"type\":\"{message_type}\"")),
            "{message_type} is not in docs/protocol.md"
        );
    }
}

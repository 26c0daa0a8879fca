//! `/asyncapi.json`: what sockets and event streams send and receive, as AsyncAPI 3.
//!
//! Payloads are schemas of AsyncAPI's default format, which is a superset of draft-07 of JSON Schema; they
//! are made by the rules of draft-07.

use dormouse::{Kinds, MethodDescription};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::documents::vocabulary::{KindWords, Vocabulary};

/// The version that the validator in the tests knows.
const ASYNCAPI_VERSION: &str = "3.1.0";

/// The whole document.
pub(super) fn document(kinds: &Kinds) -> Value {
    let vocabulary = Vocabulary::of(kinds, SchemaSettings::draft07());
    let (mut channels, mut operations) = (Map::new(), Map::new());
    for kind in &vocabulary.kinds {
        let (socket, stream) = (kind.name.to_owned(), format!("{}.stream", kind.name));
        channels.insert(socket.clone(), socket_channel(kind));
        channels.insert(stream.clone(), stream_channel(kind));
        for (id, action, channel, messages) in [
            (format!("{socket}.send"), "send", &socket, sent(kind)),
            (format!("{socket}.receive"), "receive", &socket, received(kind)),
            (format!("{stream}.send"), "send", &stream, streamed(kind)),
        ] {
            let messages: Vec<Value> =
                messages.keys().map(|name| message_reference(channel, name)).collect();
            let channel = json!({ "$ref": format!("#/channels/{channel}") });
            let mut operation =
                json!({ "action": action, "channel": channel, "messages": messages });
            if kind.needs_user {
                let scheme =
                    |name| json!({ "$ref": format!("#/components/securitySchemes/{name}") });
                operation["security"] = json!([scheme("bearer"), scheme("token")]);
            }
            operations.insert(id, operation);
        }
    }
    let schemas: Map<String, Value> =
        vocabulary.types.into_iter().map(|named| (named.name, named.schema)).collect();
    json!({
        "asyncapi": ASYNCAPI_VERSION,
        "info": {
            "title": "Dormouse",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The sockets of durable objects. Operations are the server's: it sends events and \
                            answers, and receives calls.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": { "schemas": schemas, "securitySchemes": security_schemes() },
    })
}

/// The places of a token. Which kinds need one is up to the server's settings, unless an operation says so.
fn security_schemes() -> Value {
    json!({
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "A token of the caller. Browsers send it as the subprotocol `bearer.<token>`, \
                            beside `dormouse`.",
        },
        "token": {
            "type": "httpApiKey",
            "name": "token",
            "in": "query",
            "description": "The same, for event streams of browsers.",
        },
    })
}

fn message_reference(channel: &str, message: &str) -> Value {
    json!({ "$ref": format!("#/channels/{channel}/messages/{message}") })
}

/// The WebSocket of an object.
fn socket_channel(kind: &KindWords) -> Value {
    let mut messages = sent(kind);
    messages.extend(received(kind));
    json!({
        "address": format!("/ws/{}/{{id}}", kind.name),
        "description": format!("The WebSocket of one {}.", kind.name),
        "parameters": { "id": { "description": "Which one, percent-encoded: 1 to 256 characters." } },
        "messages": messages,
        "bindings": { "ws": { "method": "GET", "query": query() } },
    })
}

/// The server-sent events of an object.
fn stream_channel(kind: &KindWords) -> Value {
    json!({
        "address": format!("/sse/{}/{{id}}", kind.name),
        "description": format!("The events of one {} as server-sent events.", kind.name),
        "parameters": { "id": { "description": "Which one, percent-encoded: 1 to 256 characters." } },
        "messages": streamed(kind),
        "bindings": { "http": { "bindingVersion": "0.3.0" } },
    })
}

/// What a socket's address may say.
fn query() -> Value {
    json!({
        "type": "object",
        "properties": {
            "since": integer("The offset of the last event that the client has."),
            "epoch": text("The epoch that the offset belongs to."),
            "events": text("Only these types of events of the log, with commas between them."),
            "session": text("The session that the client had before."),
            "token": text("A token of the caller, where it cannot be sent elsewhere."),
            "presence": { "enum": ["0", "1"], "description": "1: tell who is present." },
        },
    })
}

/// What an event stream says.
fn streamed(kind: &KindWords) -> Map<String, Value> {
    // The runtime adds to events where they are in the log.
    let event = json!({ "allOf": [
        kind.event,
        {
            "type": "object",
            "properties": {
                "offset": integer("Its place in the log, if it is in it; in `initial`, that of the state."),
                "epoch": text("The log that offsets belong to; in `initial`, and in what begins a log."),
                "session": text("The session of the connection; in `initial`."),
            },
        },
    ] });
    let resumed = frame(
        "resumed",
        &[
            ("epoch", text("The log that offsets belong to.")),
            ("offset", integer("The last event of the log.")),
            ("replayed", integer("How many events were missed; they follow.")),
            ("session", text("The session of the connection.")),
        ],
        &[],
    );
    let filtered = frame(
        "filtered",
        &[
            ("events", json!({ "type": "array", "items": { "type": "string" } })),
            ("offset", integer("The filter holds for events after it.")),
        ],
        &[],
    );
    let user = json!({
        "type": "object",
        "properties": {
            "userId": text("The user."),
            "username": text("Their name."),
            "joinedAt": { "type": "string", "format": "date-time" },
            "avatarUrl": text("Address of their picture, if they have one."),
        },
        "required": ["userId", "username", "joinedAt"],
    });
    let users = json!({ "type": "array", "items": user });
    let total = integer("How many are present, where those are not all.");
    let presence_state =
        frame("presence_state", &[("users", users.clone())], &[("total", total.clone())]);
    let presence_diff =
        frame("presence_diff", &[("joins", users.clone()), ("leaves", users)], &[("total", total)]);
    messages([
        ("event", "An event of the object, or its whole state on connect.", event),
        ("resumed", "The client came back, and missed nothing but what follows.", resumed),
        ("filtered", "The filter that holds from here on.", filtered),
        (
            "presence_state",
            "With `?presence=1`: who is present, in place of all before.",
            presence_state,
        ),
        ("presence_diff", "With `?presence=1`: who came and went.", presence_diff),
    ])
}

/// What a socket sends: what a stream does, and answers.
fn sent(kind: &KindWords) -> Map<String, Value> {
    let outputs: Vec<&Value> = kind.methods.iter().map(|method| &method.output).collect();
    let data = if outputs.is_empty() { json!(true) } else { json!({ "anyOf": outputs }) };
    let result = frame(
        "result",
        &[("id", call_id()), ("data", data)],
        &[(
            "replayed",
            json!({ "const": true, "description": "The call was answered before, and not run again." }),
        )],
    );
    let error = frame(
        "error",
        &[("code", text("Such as `NOT_FOUND`.")), ("message", text("For people."))],
        &[("id", call_id()), ("data", json!({ "type": "object" }))],
    );
    let pong = frame(
        "pong",
        &[
            ("timestamp", json!({ "type": "string", "format": "date-time" })),
            ("offset", integer("The last event that was handled for this socket.")),
        ],
        &[],
    );
    let authorized = frame(
        "authorized",
        &[("expiresAt", json!({ "type": "string", "format": "date-time" }))],
        &[],
    );
    let mut all = streamed(kind);
    all.extend(messages([
        ("result", "The answer to a call, after the event that it caused.", result),
        ("error", "Why a call or message was refused.", error),
        ("pong", "The answer to a ping.", pong),
        ("authorized", "The answer to a newer token that was taken.", authorized),
    ]));
    all
}

/// What a socket receives.
fn received(kind: &KindWords) -> Map<String, Value> {
    let filter = frame(
        "filter",
        &[("events", json!({ "type": "array", "items": { "type": "string" } }))],
        &[],
    );
    let auth = frame("auth", &[("token", text("The token."))], &[]);
    let mut all = messages([
        ("ping", "Asks whether the server is there.", frame("ping", &[], &[])),
        ("filter", "Only these types of events from now on.", filter),
        ("auth", "A newer token of the same user, before the one in use expires.", auth),
    ]);
    all.extend(kind.methods.iter().map(call));
    all.extend(kind.messages.iter().map(|said| {
        let summary = format!("A message of this kind: `{}`.", said.name);
        let name = format!("message.{}", said.name);
        (name.clone(), message(&name, &summary, said.fields.clone()))
    }));
    all
}

/// A call of a method.
fn call(method: &MethodDescription) -> (String, Value) {
    let payload = frame(
        "call",
        &[("id", call_id()), ("method", json!({ "const": method.name }))],
        &[
            ("params", method.input.clone()),
            (
                "key",
                json!({
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 255,
                    "description": "With a key a mutation happens once.",
                }),
            ),
        ],
    );
    let name = format!("call.{}", method.name);
    let summary = format!("Calls `{}`.", method.name);
    (name.clone(), message(&name, &summary, payload))
}

fn messages<const N: usize>(all: [(&str, &str, Value); N]) -> Map<String, Value> {
    all.into_iter()
        .map(|(name, summary, payload)| (name.to_owned(), message(name, summary, payload)))
        .collect()
}

fn message(name: &str, summary: &str, payload: Value) -> Value {
    json!({ "name": name, "summary": summary, "payload": payload })
}

/// A frame of a type, with fields that are always there and fields that may be.
fn frame(kind: &str, always: &[(&str, Value)], sometimes: &[(&str, Value)]) -> Value {
    let mut properties = Map::new();
    properties.insert("type".to_owned(), json!({ "const": kind }));
    let fields = always.iter().chain(sometimes);
    properties.extend(fields.map(|(name, schema)| ((*name).to_owned(), schema.clone())));
    let required: Vec<&str> =
        ["type"].into_iter().chain(always.iter().map(|(name, _)| *name)).collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

/// What a client calls its call.
fn call_id() -> Value {
    json!({ "type": ["number", "string"], "description": "What the client calls its call." })
}

fn integer(about: &str) -> Value {
    json!({ "type": "integer", "minimum": 0, "description": about })
}

fn text(about: &str) -> Value {
    json!({ "type": "string", "description": about })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built_in() -> Value {
        document(&dormouse_kinds::all().unwrap())
    }

    #[test]
    fn every_message_of_an_operation_is_one_of_its_channel() {
        let document = built_in();

        let operations = document["operations"].as_object().unwrap();
        assert_eq!(operations.len(), 9);
        for (id, operation) in operations {
            for message in operation["messages"].as_array().unwrap() {
                let pointer = message["$ref"].as_str().unwrap().trim_start_matches('#');
                assert!(document.pointer(pointer).is_some(), "{id}: {pointer}");
            }
        }
        assert_eq!(document["channels"]["note.stream"]["address"], "/sse/note/{id}");
    }

    #[test]
    fn no_payload_has_what_came_after_draft_07() {
        let text = built_in().to_string();

        for keyword in ["$defs", "prefixItems", "unevaluatedProperties"] {
            assert!(!text.contains(keyword), "{keyword}");
        }
    }
}

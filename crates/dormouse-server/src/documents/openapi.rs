//! `/openapi.json`: what is asked and answered over plain HTTP, as OpenAPI 3.1.

use dormouse::{Kinds, MethodDescription, MethodKind, SUBSCRIPTION};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::documents::vocabulary::{KindWords, Vocabulary};
use crate::rpc::Names;

/// What the scheme of tokens is called.
const BEARER: &str = "bearer";

/// The whole document.
pub(super) fn document(kinds: &Kinds) -> Value {
    let vocabulary = Vocabulary::of(kinds, SchemaSettings::draft2020_12());
    let mut paths = operations();
    for kind in &vocabulary.kinds {
        for method in &kind.methods {
            let path = format!("/rpc/{}.{}", kind.name, method.name);
            let id = format!("{}.{}", kind.name, method.name);
            paths.insert(path, secured(kind, procedure(&vocabulary, kind, method, &id)));
        }
        let (subscription, stream) = (subscription(kind), event_stream(kind));
        paths.insert(format!("/rpc/{}.{SUBSCRIPTION}", kind.name), secured(kind, subscription));
        paths.insert(format!("/sse/{}/{{id}}", kind.name), secured(kind, stream));
    }
    for flat in Names::flat(kinds) {
        let kind = vocabulary.kinds.iter().find(|kind| kind.name == flat.kind);
        let found = kind.and_then(|kind| Some((kind, kind.method(flat.method)?)));
        if let Some((kind, method)) = found {
            let procedure = secured(kind, procedure(&vocabulary, kind, method, flat.name));
            paths.insert(format!("/api/v1/{}", flat.name), procedure);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Dormouse",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Durable objects over HTTP. Under `/rpc` and `/api/v1` is the wire of tRPC 11, which \
                            can also batch: `<a>,<b>?batch=1`. Sockets are in `/asyncapi.json`.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "tags": [
            { "name": "rpc", "description": "Calls of objects, on tRPC's wire." },
            { "name": "flat", "description": "The same for notes, under flat names." },
            { "name": "events", "description": "What an object's sockets receive, as server-sent events." },
            { "name": "operations", "description": "The server itself." },
        ],
        // Which of both holds for a kind is up to the server's settings.
        "security": [{}, bearer()],
        "paths": paths,
        "components": {
            "schemas": schemas(&vocabulary),
            "securitySchemes": { BEARER: {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "A token of the caller. Event streams of browsers send it as `?token=`.",
            } },
            "parameters": { "IdempotencyKey": idempotency_key() },
            "responses": {
                "RpcError": {
                    "description": "The call failed; `error.data.code` says how.",
                    "content": { "application/json": { "schema": reference("RpcError") } },
                },
                "Problem": {
                    "description": "The request was refused; `error.code` says why.",
                    "content": { "application/json": { "schema": reference("Problem") } },
                },
            },
        },
    })
}

/// The addresses that no kind has a part in.
fn operations() -> Map<String, Value> {
    let operation = |id: &str, summary: &str, content_type: &str| {
        let schema = match content_type {
            "application/json" => json!({ "type": "object" }),
            _ => json!({ "type": "string" }),
        };
        let answer =
            json!({ "description": summary, "content": { content_type: { "schema": schema } } });
        json!({ "get": {
            "operationId": id,
            "tags": ["operations"],
            "summary": summary,
            "security": [],
            "responses": { "200": answer, "default": { "$ref": "#/components/responses/Problem" } },
        } })
    };
    [
        ("/", "page", "A page to try it in two tabs.", "text/html"),
        (
            "/healthz",
            "healthz",
            "The process runs, and how durable its writes are.",
            "application/json",
        ),
        ("/readyz", "readyz", "It takes calls.", "application/json"),
        (
            "/metrics",
            "metrics",
            "Counters and gauges in the text format of Prometheus.",
            "text/plain",
        ),
        ("/openapi.json", "openapi", "This document.", "application/json"),
        ("/asyncapi.json", "asyncapi", "The sockets, as AsyncAPI.", "application/json"),
    ]
    .into_iter()
    .map(|(path, id, summary, content_type)| {
        (path.to_owned(), operation(id, summary, content_type))
    })
    .collect()
}

/// Says of the operations of a kind that needs users that they need a token, whatever the settings.
fn secured(kind: &KindWords, mut path: Value) -> Value {
    if kind.needs_user
        && let Some(operations) = path.as_object_mut()
    {
        for operation in operations.values_mut() {
            operation["security"] = json!([bearer()]);
        }
    }
    path
}

fn bearer() -> Value {
    json!({ BEARER: [] })
}

/// A call of a method.
fn procedure(
    vocabulary: &Vocabulary,
    kind: &KindWords,
    method: &MethodDescription,
    id: &str,
) -> Value {
    let input = input(vocabulary, kind, method);
    let is_required = input["required"].as_array().is_some_and(|names| !names.is_empty());
    let tag = if id.contains('.') { "rpc" } else { "flat" };
    let mut operation = json!({
        "operationId": id,
        "tags": [tag],
        "responses": {
            "200": {
                "description": "The result.",
                "content": { "application/json": { "schema": {
                    "type": "object",
                    "properties": { "result": {
                        "type": "object",
                        "properties": { "data": method.output },
                        "required": ["data"],
                    } },
                    "required": ["result"],
                } } },
            },
            "default": { "$ref": "#/components/responses/RpcError" },
        },
    });
    match method.kind {
        MethodKind::Query | MethodKind::Listing => {
            operation["parameters"] = json!([{
                "name": "input",
                "in": "query",
                "required": is_required,
                "content": { "application/json": { "schema": input } },
            }]);
            json!({ "get": operation })
        }
        MethodKind::Mutation | MethodKind::Creation => {
            operation["parameters"] = json!([{ "$ref": "#/components/parameters/IdempotencyKey" }]);
            operation["requestBody"] = json!({
                "required": is_required,
                "content": { "application/json": { "schema": input } },
            });
            operation["responses"]["200"]["headers"] = json!({ "Idempotent-Replay": {
                "description": "The call was answered before, and not run again.",
                "schema": { "const": "true" },
            } });
            json!({ "post": operation })
        }
    }
}

/// What a method takes, with the field that names the object.
fn input(vocabulary: &Vocabulary, kind: &KindWords, method: &MethodDescription) -> Value {
    let schema = match method.input.get("$ref").and_then(Value::as_str) {
        Some(reference) => vocabulary.find(reference).unwrap_or(&method.input),
        None => &method.input,
    };
    if method.kind == MethodKind::Listing {
        return schema.clone();
    }
    let is_plain = schema["type"] == "object"
        && !["$ref", "allOf", "anyOf", "oneOf"].iter().any(|part| schema.get(part).is_some());
    // A choice between objects that refuse unknown fields cannot be given one more from outside.
    let mut input = if is_plain { schema.clone() } else { json!({ "type": "object" }) };
    input["properties"][kind.id_field] = object_id(kind);
    if method.kind != MethodKind::Creation {
        require(&mut input, kind.id_field);
    }
    input
}

fn require(schema: &mut Value, name: &str) {
    match &mut schema["required"] {
        Value::Array(names) => names.insert(0, name.into()),
        missing => *missing = json!([name]),
    }
}

/// The events of an object on tRPC's wire.
fn subscription(kind: &KindWords) -> Value {
    let input = json!({
        "type": "object",
        "properties": {
            kind.id_field: object_id(kind),
            "lastEventId": {
                "type": ["string", "null"],
                "description": "The id of the last event that the caller has, `<epoch>:<offset>`.",
            },
        },
        "required": [kind.id_field],
        "additionalProperties": false,
    });
    json!({ "get": {
        "operationId": format!("{}.{SUBSCRIPTION}", kind.name),
        "tags": ["rpc", "events"],
        "summary": "What an object's sockets receive, as tRPC's httpSubscriptionLink reads it.",
        "parameters": [
            {
                "name": "input",
                "in": "query",
                "required": true,
                "content": { "application/json": { "schema": input } },
            },
            last_event_id(),
        ],
        "responses": { "200": stream(&kind.event), "default": { "$ref": "#/components/responses/RpcError" } },
    } })
}

/// The events of an object.
fn event_stream(kind: &KindWords) -> Value {
    let text = json!({ "type": "string" });
    let offset = json!({ "type": "integer", "minimum": 0 });
    json!({ "get": {
        "operationId": format!("sse/{}", kind.name),
        "tags": ["events"],
        "summary": "What an object's sockets receive.",
        "parameters": [
            { "name": "id", "in": "path", "required": true, "schema": object_id(kind) },
            parameter("query", "since", &offset, "The offset of the last event that the caller has."),
            parameter("query", "epoch", &text, "The epoch that the offset belongs to."),
            parameter("query", "events", &text, "Only these types of events, with commas between them."),
            last_event_id(),
        ],
        "responses": { "200": stream(&kind.event), "default": { "$ref": "#/components/responses/Problem" } },
    } })
}

/// The answer that goes on.
fn stream(event: &Value) -> Value {
    json!({
        "description": "Server-sent events; the `data` of each is JSON.",
        "content": { "text/event-stream": { "schema": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": event,
        } } },
    })
}

fn last_event_id() -> Value {
    let about = "The id of the last event that the caller has, `<epoch>:<offset>`: the stream goes on after it.";
    parameter("header", "Last-Event-ID", &json!({ "type": "string" }), about)
}

fn idempotency_key() -> Value {
    let schema = json!({ "type": "string", "minLength": 1, "maxLength": 255 });
    let about = "With a key a mutation happens once, however often it is repeated.";
    parameter("header", "Idempotency-Key", &schema, about)
}

fn parameter(place: &str, name: &str, schema: &Value, about: &str) -> Value {
    json!({ "name": name, "in": place, "schema": schema, "description": about })
}

/// What names an object.
fn object_id(kind: &KindWords) -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": 256,
        "description": format!("Which {}.", kind.name),
    })
}

/// The types of the kinds, and the two forms of errors.
fn schemas(vocabulary: &Vocabulary) -> Map<String, Value> {
    let mut schemas: Map<String, Value> =
        vocabulary.types.iter().map(|named| (named.name.clone(), named.schema.clone())).collect();
    let code = json!({ "type": "string", "description": "Such as `NOT_FOUND`." });
    let rpc_error = json!({
        "type": "object",
        "properties": { "error": {
            "type": "object",
            "properties": {
                "message": { "type": "string" },
                "code": { "type": "integer", "description": "What JSON-RPC 2.0 has for it." },
                "data": {
                    "type": "object",
                    "properties": {
                        "code": code,
                        "httpStatus": { "type": "integer" },
                        "path": { "type": "string" },
                    },
                    "required": ["code", "httpStatus"],
                },
            },
            "required": ["message", "code", "data"],
        } },
        "required": ["error"],
    });
    let problem = json!({
        "type": "object",
        "properties": { "error": {
            "type": "object",
            "properties": { "code": code, "message": { "type": "string" } },
            "required": ["code", "message"],
        } },
        "required": ["error"],
    });
    schemas.insert("RpcError".to_owned(), rpc_error);
    schemas.insert("Problem".to_owned(), problem);
    schemas
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built_in() -> Value {
        document(&dormouse_kinds::all().unwrap())
    }

    fn body(document: &Value, path: &str) -> Value {
        document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
            .clone()
    }

    #[test]
    fn an_input_names_the_object_beside_what_the_method_takes() {
        let document = built_in();

        let step = body(&document, "/rpc/counter.increment");
        assert_eq!(step["required"], json!(["name"]));
        assert_eq!(step["additionalProperties"], false);
        assert_eq!(step["properties"]["amount"]["default"], 1);
        let create = body(&document, "/rpc/note.create");
        assert_eq!(
            (&create["required"], create["properties"]["id"]["type"].as_str()),
            (&json!(["title"]), Some("string"))
        );
        let get = &document["paths"]["/rpc/note.get"]["get"]["parameters"][0];
        assert_eq!(
            (&get["required"], &get["content"]["application/json"]["schema"]["required"]),
            (&json!(true), &json!(["id"]))
        );
        let list = &document["paths"]["/rpc/note.list"]["get"]["parameters"][0];
        assert_eq!(list["required"], false);
        assert_eq!(list["content"]["application/json"]["schema"]["properties"].get("id"), None);
    }

    #[test]
    fn a_token_may_be_needed_for_objects_and_never_for_the_server_itself() {
        let document = built_in();

        assert_eq!(document["security"], json!([{}, {"bearer": []}]));
        assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
        assert_eq!(document["paths"]["/healthz"]["get"]["security"], json!([]));
        assert_eq!(document["paths"]["/rpc/note.get"]["get"].get("security"), None);
    }

    #[test]
    fn flat_names_are_the_procedures_behind_them() {
        let document = built_in();

        let flat = body(&document, "/api/v1/createNote");

        assert_eq!(flat, body(&document, "/rpc/note.create"));
        assert_eq!(document["paths"]["/api/v1/listNotes"]["get"]["operationId"], "listNotes");
    }
}

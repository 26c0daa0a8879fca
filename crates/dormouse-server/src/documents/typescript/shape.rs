//! What a JSON Schema says, as a type of TypeScript.
//!
//! The type is never narrower than the schema: what TypeScript cannot say, such as bounds and formats,
//! is left out, and what is not understood is `unknown`, with the reason.

use serde_json::{Map, Value};

use crate::documents::vocabulary::REFERENCE;

/// Keywords that [`Type::of`] reads.
const READ: [&str; 12] = [
    "$ref",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "enum",
    "items",
    "oneOf",
    "patternProperties",
    "prefixItems",
    "properties",
    "type",
];

/// Keywords that only describe, or only narrow what a type of TypeScript is as well without them.
const LEFT_OUT: [&str; 29] = [
    "$comment",
    "contentEncoding",
    "contentMediaType",
    "default",
    "deprecated",
    "description",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "pattern",
    "propertyNames",
    "readOnly",
    "required",
    "title",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
    "writeOnly",
];

/// A type of TypeScript.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Type {
    /// What is one word: `string`, `"increment"`, `CounterEvent`.
    Word(String),
    /// Not known, for this reason.
    Unknown(String),
    /// `T[]`
    Array(Box<Type>),
    /// `[A, B]`
    Tuple(Vec<Type>),
    /// `Record<string, T>`
    Record(Box<Type>),
    /// `{ a: A; b?: B }`
    Object {
        fields: Vec<Field>,
        /// Whether each field has a line of its own, however short they are.
        is_block: bool,
    },
    /// `A | B`
    Union(Vec<Variant>),
    /// `A & B`
    Intersection(Vec<Type>),
}

/// A field of an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    pub(super) key: Key,
    pub(super) about: Option<String>,
    pub(super) of: Type,
}

/// What names a field.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Key {
    /// `a: A`
    Required(String),
    /// `a?: A`
    Optional(String),
    /// `[key: string]: A`, for this reason.
    Others(String),
}

/// One of the types that something may have.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Variant {
    pub(super) about: Option<String>,
    pub(super) of: Type,
}

impl Field {
    pub(super) fn new(name: &str, of: Type) -> Field {
        Field { key: Key::Required(name.to_owned()), about: None, of }
    }
}

impl Type {
    /// The type of what a schema allows.
    pub(super) fn of(schema: &Value) -> Type {
        match schema {
            Value::Bool(true) => Type::word("unknown"),
            Value::Bool(false) => Type::word("never"),
            Value::Object(keywords) => Type::of_keywords(keywords),
            _ => Type::Unknown("it is not a schema".to_owned()),
        }
    }

    fn of_keywords(keywords: &Map<String, Value>) -> Type {
        let is_known = |keyword: &str| {
            READ.contains(&keyword) || LEFT_OUT.contains(&keyword) || keyword.starts_with("x-")
        };
        if let Some(keyword) = keywords.keys().find(|keyword| !is_known(keyword)) {
            return Type::Unknown(format!("its schema has `{keyword}`"));
        }
        let mut parts: Vec<Type> = own(keywords).into_iter().collect();
        if let Some(Value::String(reference)) = keywords.get("$ref") {
            parts.push(match reference.strip_prefix(REFERENCE) {
                Some(name) => Type::word(name),
                None => Type::Unknown(format!("it is defined elsewhere: {reference}")),
            });
        }
        for keyword in ["oneOf", "anyOf"] {
            let schemas = keywords.get(keyword).and_then(Value::as_array);
            parts.extend(schemas.map(|schemas| Type::union(schemas.iter().map(Variant::of))));
        }
        let all = keywords.get("allOf").and_then(Value::as_array);
        parts.extend(all.into_iter().flatten().map(Type::of));
        Type::intersection(parts)
    }

    pub(super) fn word(word: &str) -> Type {
        Type::Word(word.to_owned())
    }

    /// A text that is always the same.
    pub(super) fn literal(text: &str) -> Type {
        Type::Word(Value::from(text).to_string())
    }

    /// An object whose fields have a line each. Without fields it is `Empty`.
    pub(super) fn block(fields: Vec<Field>) -> Type {
        if fields.is_empty() {
            return Type::word("Empty");
        }
        Type::Object { fields, is_block: true }
    }

    fn union(variants: impl Iterator<Item = Variant>) -> Type {
        let nested = variants.flat_map(|variant| match variant.of {
            Type::Union(variants) => variants,
            of => vec![Variant { of, ..variant }],
        });
        let mut distinct: Vec<Variant> = Vec::new();
        for variant in nested {
            match variant.of {
                // All else is part of it.
                Type::Unknown(_) => return variant.of,
                Type::Word(word) if word == "unknown" => return Type::Word(word),
                _ if distinct.iter().any(|known| known.of == variant.of) => {}
                _ => distinct.push(variant),
            }
        }
        match distinct.len() {
            0 => Type::word("never"),
            1 => distinct.swap_remove(0).of,
            _ => Type::Union(distinct),
        }
    }

    fn intersection(mut parts: Vec<Type>) -> Type {
        // What is known of the other parts is true as well.
        if parts.len() > 1 {
            parts.retain(|part| !matches!(part, Type::Word(word) if word == "unknown"));
        }
        match parts.len() {
            0 => Type::word("unknown"),
            1 => parts.swap_remove(0),
            _ => Type::Intersection(parts),
        }
    }
}

impl Variant {
    fn of(schema: &Value) -> Variant {
        Variant { about: about(schema), of: Type::of(schema) }
    }
}

impl From<Type> for Variant {
    fn from(of: Type) -> Variant {
        Variant { about: None, of }
    }
}

fn about(schema: &Value) -> Option<String> {
    schema.get("description").and_then(Value::as_str).map(str::to_owned)
}

/// What a schema says itself, without references to others and choices. `None`: nothing.
fn own(keywords: &Map<String, Value>) -> Option<Type> {
    if let Some(value) = keywords.get("const") {
        return Some(constant(value));
    }
    if let Some(Value::Array(values)) = keywords.get("enum") {
        return Some(Type::union(values.iter().map(|value| constant(value).into())));
    }
    let names: Vec<&str> = match keywords.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ if keywords.contains_key("properties") => vec!["object"],
        _ => return None,
    };
    let says_more =
        ["$ref", "allOf", "anyOf", "oneOf"].iter().any(|more| keywords.contains_key(*more));
    let types = names.iter().map(|name| match *name {
        "string" => Type::word("string"),
        "integer" | "number" => Type::word("number"),
        "boolean" => Type::word("boolean"),
        "null" => Type::word("null"),
        "array" => array(keywords),
        // The other parts say which object.
        "object" if says_more && !has_fields(keywords) => Type::word("unknown"),
        "object" => object(keywords),
        other => Type::Unknown(format!("its schema has the type {other}")),
    });
    Some(Type::union(types.map(Variant::from)))
}

fn constant(value: &Value) -> Type {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Type::Word(value.to_string())
        }
        Value::Array(_) | Value::Object(_) => {
            Type::Unknown("it is a constant that is not a plain value".to_owned())
        }
    }
}

fn array(keywords: &Map<String, Value>) -> Type {
    let rest = keywords.get("items");
    let Some(Value::Array(first)) = keywords.get("prefixItems") else {
        return Type::Array(Box::new(rest.map_or_else(|| Type::word("unknown"), Type::of)));
    };
    let length = |keyword: &str| keywords.get(keyword).and_then(Value::as_u64);
    let is_exact = length("minItems") == Some(first.len() as u64)
        && (length("maxItems") == Some(first.len() as u64) || rest == Some(&Value::Bool(false)));
    if is_exact {
        return Type::Tuple(first.iter().map(Type::of).collect());
    }
    Type::Unknown("it is an array whose first items differ from the others".to_owned())
}

fn has_fields(keywords: &Map<String, Value>) -> bool {
    ["additionalProperties", "patternProperties", "properties"]
        .iter()
        .any(|keyword| keywords.contains_key(*keyword))
}

fn object(keywords: &Map<String, Value>) -> Type {
    let mut fields = fields(keywords);
    let others = others(keywords);
    match others {
        None if fields.is_empty() => Type::word("Record<never, never>"),
        None => Type::Object { fields, is_block: false },
        Some(others) if fields.is_empty() => Type::Record(Box::new(others)),
        Some(_) => {
            let reason = "the other fields are of another type than these";
            let key = Key::Others(reason.to_owned());
            fields.push(Field { key, about: None, of: Type::word("unknown") });
            Type::Object { fields, is_block: false }
        }
    }
}

/// The fields that have names, those that are always there first, which schemars keeps in the order of
/// the Rust type.
fn fields(keywords: &Map<String, Value>) -> Vec<Field> {
    let Some(Value::Object(properties)) = keywords.get("properties") else { return Vec::new() };
    let required: Vec<&str> = keywords
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let always = required.iter().filter_map(|name| properties.get_key_value(*name));
    let sometimes = properties.iter().filter(|(name, _)| !required.contains(&name.as_str()));
    always
        .map(|(name, schema)| (Key::Required(name.clone()), schema))
        .chain(sometimes.map(|(name, schema)| (Key::Optional(name.clone()), schema)))
        .map(|(key, schema)| Field { key, about: about(schema), of: Type::of(schema) })
        .collect()
}

/// What fields with any other name are. `None`: nothing is said of them.
fn others(keywords: &Map<String, Value>) -> Option<Type> {
    let mut types = Vec::new();
    if let Some(Value::Object(patterns)) = keywords.get("patternProperties") {
        types.extend(patterns.values().map(Variant::of));
    }
    match keywords.get("additionalProperties") {
        Some(Value::Bool(false)) => {}
        Some(schema) => types.push(Variant::of(schema)),
        None if types.is_empty() => {}
        None => types.push(Type::word("unknown").into()),
    }
    (!types.is_empty()).then(|| Type::union(types.into_iter()))
}

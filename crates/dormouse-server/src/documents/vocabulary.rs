//! One name for every type of every kind.
//!
//! Kinds are written apart from each other, so their types may have the same names: a type is called
//! `<Kind><Type>` here, unless its name begins with the kind's already. What comes with the crate
//! `dormouse` keeps its name.

use std::collections::{BTreeMap, BTreeSet};

use dormouse::{Description, Kinds, MessageDescription, MethodDescription};
use percent_encoding::percent_decode_str;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// What a reference begins with; the name of a type follows.
pub(super) const REFERENCE: &str = "#/components/schemas/";

/// What generated files and documents have beside the types of kinds.
const RESERVED: [&str; 5] = ["FlatNames", "ID_FIELDS", "Kinds", "Problem", "RpcError"];

/// Keywords whose values are data and not schemas.
const DATA: [&str; 4] = ["const", "default", "enum", "examples"];

/// All that is said on the wire, in types that have a name each.
#[derive(Debug)]
pub(super) struct Vocabulary {
    /// By name.
    pub(super) kinds: Vec<KindWords>,
    /// What the kinds refer to: what all share, then in the order of first use.
    pub(super) types: Vec<NamedType>,
}

/// What is said to and by the objects of a kind.
#[derive(Debug)]
pub(super) struct KindWords {
    pub(super) name: &'static str,
    pub(super) id_field: &'static str,
    /// Whether it is only for those who have a token.
    pub(super) needs_user: bool,
    pub(super) event: Value,
    pub(super) methods: Vec<MethodDescription>,
    /// With `type` among their fields.
    pub(super) messages: Vec<MessageDescription>,
}

/// A type and its schema.
#[derive(Debug)]
pub(super) struct NamedType {
    pub(super) name: String,
    pub(super) schema: Value,
}

impl Vocabulary {
    /// Describes all kinds in a dialect of JSON Schema.
    pub(super) fn of(kinds: &Kinds, dialect: SchemaSettings) -> Vocabulary {
        let path = REFERENCE.trim_start_matches('#').trim_end_matches('/');
        let dialect = dialect.with(|settings| settings.definitions_path = path.into());
        let shared = Description::shared(dialect.clone());
        let mut taken: BTreeSet<String> = shared.keys().cloned().collect();
        taken.extend(RESERVED.map(str::to_owned));

        let types = shared
            .iter()
            .map(|(name, schema)| NamedType { name: name.clone(), schema: schema.clone() })
            .collect();
        let mut vocabulary = Vocabulary { kinds: Vec::new(), types };
        for kind in kinds.all_public() {
            let described = kind.describe(dialect.clone());
            let names = Names::of(&described, &shared, &mut taken);
            vocabulary.add(described, kind.needs_user(), &names);
        }
        vocabulary
    }

    /// The schema that a reference leads to.
    pub(super) fn find(&self, reference: &str) -> Option<&Value> {
        let name = reference.strip_prefix(REFERENCE)?;
        self.types.iter().find(|named| named.name == name).map(|named| &named.schema)
    }

    fn add(&mut self, described: Description, needs_user: bool, names: &Names) {
        let Description { kind, id_field, mut event, mut methods, mut messages, received, sent } =
            described;
        let received = Definitions { schemas: &received, names: &names.received };
        let sent = Definitions { schemas: &sent, names: &names.sent };
        self.adopt(&mut event, sent);
        for method in &mut methods {
            self.adopt(&mut method.input, received);
            self.adopt(&mut method.output, sent);
        }
        for MessageDescription { name, fields } in &mut messages {
            // The fields alone are a type that nothing on the wire has.
            let reference = fields.get("$ref").and_then(Value::as_str).and_then(referred);
            if let Some(alone) = reference.and_then(|name| received.schemas.get(&name)) {
                *fields = alone.clone();
            }
            self.adopt(fields, received);
            tag(fields, name);
        }
        self.kinds.push(KindWords { name: kind, id_field, needs_user, event, methods, messages });
    }

    /// Gives references the names that types have here, and takes in the types themselves.
    fn adopt(&mut self, schema: &mut Value, definitions: Definitions<'_>) {
        let mut used = Vec::new();
        each_reference(schema, &mut |reference| {
            if let Some((name, definition)) = definitions.find(reference) {
                *reference = format!("{REFERENCE}{name}");
                used.push((name, definition));
            }
        });
        for (name, definition) in used {
            if self.types.iter().all(|known| known.name != name) {
                let place = self.types.len();
                // Known before its own references are followed: one of them may be to itself.
                self.types.push(NamedType { name: name.to_owned(), schema: Value::Null });
                let mut schema = definition.clone();
                self.adopt(&mut schema, definitions);
                self.types[place].schema = schema;
            }
        }
    }
}

/// Adds the field `type` to the schema of an object.
fn tag(schema: &mut Value, name: &str) {
    schema["properties"]["type"] = json!({ "const": name });
    let mut required = vec![Value::from("type")];
    if let Some(Value::Array(fields)) = schema.get("required") {
        required.extend(fields.iter().cloned());
    }
    schema["required"] = required.into();
}

impl KindWords {
    /// The method of that name.
    pub(super) fn method(&self, name: &str) -> Option<&MethodDescription> {
        self.methods.iter().find(|method| method.name == name)
    }
}

/// The schemas of one side of a kind, and what they are called here.
#[derive(Clone, Copy)]
struct Definitions<'a> {
    schemas: &'a Map<String, Value>,
    names: &'a BTreeMap<String, String>,
}

impl<'a> Definitions<'a> {
    fn find(self, reference: &str) -> Option<(&'a str, &'a Value)> {
        let name = referred(reference)?;
        Some((self.names.get(&name)?, self.schemas.get(&name)?))
    }
}

/// What the types of a kind are called here, by what they are called in its description.
struct Names {
    received: BTreeMap<String, String>,
    sent: BTreeMap<String, String>,
}

impl Names {
    fn of(
        described: &Description,
        shared: &Map<String, Value>,
        taken: &mut BTreeSet<String>,
    ) -> Names {
        let prefix = pascal_case(described.kind);
        let mut names = Names { received: BTreeMap::new(), sent: BTreeMap::new() };
        for (theirs, schema) in &described.sent {
            let ours = if shared.get(theirs) == Some(schema) {
                theirs.clone()
            } else {
                take(taken, with_prefix(&prefix, theirs))
            };
            names.sent.insert(theirs.clone(), ours);
        }
        for (theirs, schema) in &described.received {
            let also_sent =
                names.sent.get(theirs).filter(|_| is_same(described, theirs, &mut BTreeSet::new()));
            let ours = match also_sent {
                _ if shared.get(theirs) == Some(schema) => theirs.clone(),
                Some(ours) => ours.clone(),
                None => {
                    let wanted = with_prefix(&prefix, theirs);
                    let is_taken = taken.contains(&wanted);
                    take(taken, if is_taken { format!("{wanted}Input") } else { wanted })
                }
            };
            names.received.insert(theirs.clone(), ours);
        }
        names
    }
}

/// Whether a type looks the same to those who send it and those who receive it, with all it refers to.
fn is_same(described: &Description, name: &str, seen: &mut BTreeSet<String>) -> bool {
    if !seen.insert(name.to_owned()) {
        return true;
    }
    let (Some(received), Some(sent)) = (described.received.get(name), described.sent.get(name))
    else {
        return false;
    };
    let mut references = Vec::new();
    each_reference(&mut received.clone(), &mut |reference| references.extend(referred(reference)));
    received == sent && references.iter().all(|name| is_same(described, name, seen))
}

/// The name that a reference has in a description.
fn referred(reference: &str) -> Option<String> {
    let name = percent_decode_str(reference.strip_prefix(REFERENCE)?).decode_utf8_lossy();
    Some(name.replace("~1", "/").replace("~0", "~"))
}

/// Finds all references in a schema.
fn each_reference(schema: &mut Value, visit: &mut impl FnMut(&mut String)) {
    match schema {
        Value::Object(keywords) => {
            for (keyword, value) in keywords {
                match value {
                    Value::String(reference) if keyword == "$ref" => visit(reference),
                    _ if DATA.contains(&keyword.as_str()) => {}
                    _ => each_reference(value, visit),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| each_reference(value, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Takes a name, or the next one like it that is free.
fn take(taken: &mut BTreeSet<String>, wanted: String) -> String {
    let mut name = wanted.clone();
    for number in 2.. {
        if taken.insert(name.clone()) {
            break;
        }
        name = format!("{wanted}{number}");
    }
    name
}

fn with_prefix(prefix: &str, name: &str) -> String {
    // Names of generic types have other characters in them.
    let name = pascal_case(name);
    if name.starts_with(prefix) { name } else { format!("{prefix}{name}") }
}

fn pascal_case(name: &str) -> String {
    name.split(|c: char| !c.is_ascii_alphanumeric())
        .flat_map(|word| {
            let mut chars = word.chars();
            chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars)
        })
        .collect()
}

#[cfg(test)]
mod tests;

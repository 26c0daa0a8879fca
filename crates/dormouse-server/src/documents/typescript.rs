//! The kinds as TypeScript: types that compile to nothing, and the names of the id fields.

mod print;
mod shape;

use std::fmt::Write as _;

use dormouse::{Kinds, MethodDescription, MethodKind};
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::documents::typescript::print::{declaration, docs, property};
use crate::documents::typescript::shape::{Field, Type};
use crate::documents::vocabulary::{KindWords, Vocabulary};
use crate::rpc::Names;

const HEAD: &str = "// What the server's kinds say and hear. Generated from its Rust types by `dormouse types`; do not edit.\n";

const KINDS_DOCS: &str = "\
Every kind of this server: the input field that names an object (`id`), what its sockets receive (`event`), its\n\
methods, and what is asked of all its objects together (`listings`). The inputs of `methods` are without the `id` field;\n\
a `creation` may be called without it, and the server makes one.";

const FLAT_NAMES_DOCS: &str = "The procedures behind the flat names under `/api/v1`.";

const ID_FIELDS_DOCS: &str = "The input field that names an object, by kind.";

/// The whole file.
pub(super) fn file(kinds: &Kinds) -> String {
    let vocabulary = Vocabulary::of(kinds, SchemaSettings::draft2020_12());
    let mut file = HEAD.to_owned();
    for named in &vocabulary.types {
        let about = named.schema.get("description").and_then(Value::as_str);
        file.push_str(&declaration(&named.name, about, &Type::of(&named.schema)));
    }
    let map = vocabulary.kinds.iter().map(|kind| Field::new(kind.name, kind_map(kind))).collect();
    file.push_str(&declaration("Kinds", Some(KINDS_DOCS), &Type::block(map)));
    let flat = Names::flat(kinds)
        .map(|flat| Field::new(flat.name, Type::literal(&format!("{}.{}", flat.kind, flat.method))))
        .collect();
    file.push_str(&declaration("FlatNames", Some(FLAT_NAMES_DOCS), &Type::block(flat)));
    file.push_str(&id_fields(&vocabulary.kinds));
    file
}

fn kind_map(kind: &KindWords) -> Type {
    let (listings, methods): (Vec<_>, Vec<_>) =
        kind.methods.iter().partition(|method| method.kind == MethodKind::Listing);
    let map =
        |methods: Vec<&MethodDescription>| Type::block(methods.into_iter().map(method).collect());
    Type::block(vec![
        Field::new("id", Type::literal(kind.id_field)),
        Field::new("event", Type::of(&kind.event)),
        Field::new("methods", map(methods)),
        Field::new("listings", map(listings)),
    ])
}

fn method(method: &MethodDescription) -> Field {
    let kind = match method.kind {
        MethodKind::Query | MethodKind::Listing => "query",
        MethodKind::Mutation => "mutation",
        MethodKind::Creation => "creation",
    };
    let shape = Type::Object {
        fields: vec![
            Field::new("kind", Type::literal(kind)),
            Field::new("input", Type::of(&method.input)),
            Field::new("output", Type::of(&method.output)),
        ],
        is_block: false,
    };
    Field::new(method.name, shape)
}

fn id_fields(kinds: &[KindWords]) -> String {
    let mut text = format!("\n{}export const ID_FIELDS = {{", docs(ID_FIELDS_DOCS, 0));
    for (index, kind) in kinds.iter().enumerate() {
        let separator = if index == 0 { " " } else { ", " };
        let field = Value::from(kind.id_field);
        write!(text, "{separator}{}: {field}", property(kind.name))
            .expect("writing to memory cannot fail");
    }
    let end = if kinds.is_empty() { "" } else { " " };
    text + end + "} as const;\n"
}

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::json;

use super::*;

/// How a type that the server receives is declared as `T`.
fn received<T: JsonSchema>() -> String {
    declared::<T>(dialect().for_deserialize())
}

/// How a type that the server sends is declared as `T`.
fn sent<T: JsonSchema>() -> String {
    declared::<T>(dialect().for_serialize())
}

fn dialect() -> SchemaSettings {
    SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
}

fn declared<T: JsonSchema>(settings: SchemaSettings) -> String {
    let mut generator: SchemaGenerator = settings.into_generator();
    let schema = T::json_schema(&mut generator).to_value();
    let about = schema.get("description").and_then(Value::as_str);
    declaration("T", about, &Type::of(&schema)).trim().to_owned()
}

/// How a schema is declared as `T`.
fn of(schema: &Value) -> String {
    declaration("T", None, &Type::of(schema)).trim().to_owned()
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is read")]
struct Point {
    x: f64,
    y: f64,
}

#[test]
fn plain_types_are_what_json_has() {
    assert_eq!(sent::<u8>(), "export type T = number;");
    assert_eq!(sent::<u64>(), "export type T = number;");
    assert_eq!(sent::<f32>(), "export type T = number;");
    assert_eq!(sent::<bool>(), "export type T = boolean;");
    assert_eq!(sent::<char>(), "export type T = string;");
    assert_eq!(sent::<()>(), "export type T = null;");
    assert_eq!(sent::<Value>(), "export type T = unknown;");
}

#[test]
fn options_lists_maps_and_tuples_nest() {
    assert_eq!(sent::<Option<String>>(), "export type T = string | null;");
    assert_eq!(sent::<Vec<Option<Point>>>(), "export type T = (Point | null)[];");
    assert_eq!(sent::<(u8, Option<Point>)>(), "export type T = [number, Point | null];");
    assert_eq!(sent::<BTreeMap<String, Vec<bool>>>(), "export type T = Record<string, boolean[]>;");
    assert_eq!(sent::<HashMap<u32, Point>>(), "export type T = Record<string, Point>;");
    assert_eq!(sent::<BTreeMap<String, Value>>(), "export type T = Record<string, unknown>;");
    assert_eq!(sent::<[u8; 2]>(), "export type T = number[];");
}

#[test]
fn a_field_is_optional_where_it_may_be_missing() {
    #[derive(JsonSchema)]
    #[serde(rename_all = "camelCase")]
    #[expect(dead_code, reason = "only its schema is read")]
    struct Fields {
        always: u8,
        maybe_null: Option<u8>,
        #[serde(default)]
        by_default: u8,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        sometimes: Vec<u8>,
        #[serde(skip)]
        never: u8,
    }

    assert_eq!(
        received::<Fields>(),
        "export interface T {\n  always: number;\n  sometimes: number[];\n  byDefault?: number;\n  \
         maybeNull?: number | null;\n}"
    );
    assert_eq!(
        sent::<Fields>(),
        "export interface T {\n  always: number;\n  maybeNull: number | null;\n  byDefault: number;\n  \
         sometimes?: number[];\n}"
    );
}

#[test]
fn what_rust_says_of_a_type_and_its_fields_is_a_comment() {
    /// A word that ends comments: */
    ///
    /// And more.
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is read")]
    struct Commented {
        /// Yes or no.
        flag: bool,
    }

    assert_eq!(
        sent::<Commented>(),
        "/**\n * A word that ends comments: *\\/\n *\n * And more.\n */\n\
         export interface T {\n  /** Yes or no. */\n  flag: boolean;\n}"
    );
}

#[test]
fn every_way_to_tag_an_enum_is_a_union() {
    #[derive(JsonSchema)]
    #[serde(tag = "type", rename_all = "camelCase")]
    #[expect(dead_code, reason = "only its schema is read")]
    enum Internal {
        Unit,
        Newtype(Point),
        Fields { by: String },
    }
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is read")]
    enum External {
        Unit,
        Other,
        Newtype(Point),
        Pair(u8, u8),
    }
    #[derive(JsonSchema)]
    #[serde(tag = "t", content = "c")]
    #[expect(dead_code, reason = "only its schema is read")]
    enum Adjacent {
        Unit,
        Newtype(Point),
    }
    #[derive(JsonSchema)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "only its schema is read")]
    enum Untagged {
        Number(u8),
        Text(String),
    }

    assert_eq!(
        sent::<Internal>(),
        r#"export type T = { type: "unit" } | ({ type: "newtype" } & Point) | { type: "fields"; by: string };"#
    );
    assert_eq!(
        sent::<External>(),
        r#"export type T = "Unit" | "Other" | { Newtype: Point } | { Pair: [number, number] };"#
    );
    assert_eq!(
        sent::<Adjacent>(),
        r#"export type T = { t: "Unit" } | { t: "Newtype"; c: Point };"#
    );
    assert_eq!(sent::<Untagged>(), "export type T = number | string;");
}

#[test]
fn variants_with_comments_have_a_line_each() {
    #[derive(JsonSchema)]
    #[serde(tag = "type")]
    #[expect(dead_code, reason = "only its schema is read")]
    enum Door {
        /// By whom is not known.
        Opened,
        Shut {
            /// Who did.
            by: String,
        },
    }

    assert_eq!(
        sent::<Vec<Door>>().replace("Door[]", "(…)[]"),
        "export type T = (…)[];",
        "a type that has a name is named"
    );
    assert_eq!(
        sent::<Door>(),
        "export type T =\n  /** By whom is not known. */\n  | { type: \"Opened\" }\n  | {\n      type: \"Shut\";\n      \
         /** Who did. */\n      by: string;\n    };"
    );
}

#[test]
fn what_is_flattened_is_part_of_the_object() {
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is read")]
    struct Named {
        name: String,
        #[serde(flatten)]
        at: Point,
    }
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is read")]
    enum Shape {
        Round { radius: f64 },
        Square { side: f64 },
    }
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is read")]
    struct Drawn {
        id: u8,
        #[serde(flatten)]
        shape: Shape,
    }
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is read")]
    struct Open {
        id: u8,
        #[serde(flatten)]
        others: BTreeMap<String, String>,
    }

    assert_eq!(
        sent::<Named>(),
        "export interface T {\n  name: string;\n  x: number;\n  y: number;\n}"
    );
    assert_eq!(
        sent::<Drawn>(),
        "export type T = { id: number } & ({ Round: { radius: number } } | { Square: { side: number } });"
    );
    assert_eq!(
        sent::<Open>(),
        "export interface T {\n  id: number;\n  /** the other fields are of another type than these */\n  \
         [key: string]: unknown;\n}"
    );
}

#[test]
fn a_newtype_is_what_it_wraps_and_a_type_may_refer_to_itself() {
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is read")]
    struct Meters(f64);
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is read")]
    struct Tree {
        #[serde(rename = "child-nodes")]
        children: Vec<Tree>,
    }

    assert_eq!(sent::<Meters>(), "export type T = number;");
    assert_eq!(sent::<Tree>(), "export interface T {\n  \"child-nodes\": Tree[];\n}");
}

#[test]
fn what_a_schema_says_that_is_not_understood_is_unknown_with_the_reason() {
    for (schema, expected) in [
        (json!({"if": {}, "then": {}}), "unknown /* its schema has `if` */"),
        (
            json!({"$ref": "https://else.where/"}),
            "unknown /* it is defined elsewhere: https://else.where/ */",
        ),
        (json!({"const": [1]}), "unknown /* it is a constant that is not a plain value */"),
        (json!({"type": "matrix"}), "unknown /* its schema has the type matrix */"),
        (
            json!({"type": "array", "prefixItems": [{}], "items": {"type": "string"}}),
            "unknown /* it is an array whose first items differ from the others */",
        ),
        (json!({"anyOf": [{"type": "string"}, {"if": {}}]}), "unknown /* its schema has `if` */"),
        (json!(7), "unknown /* it is not a schema */"),
    ] {
        assert_eq!(of(&schema), format!("export type T = {expected};"), "{schema}");
    }
}

#[test]
fn schemas_that_nobody_derives_are_read_as_well() {
    for (schema, expected) in [
        (json!(true), "unknown"),
        (json!(false), "never"),
        (json!({}), "unknown"),
        (json!({"enum": ["a", 1, null, "a"]}), "\"a\" | 1 | null"),
        (json!({"type": ["string", "null"], "maxLength": 3}), "string | null"),
        (json!({"type": "object"}), "Record<never, never>"),
        (json!({"type": "object", "additionalProperties": true}), "Record<string, unknown>"),
        (json!({"type": "array"}), "unknown[]"),
        (json!({"allOf": [{"$ref": "#/components/schemas/A"}, {"description": "x"}]}), "A"),
        (json!({"type": "object", "anyOf": [{"$ref": "#/components/schemas/A"}, {}]}), "unknown"),
    ] {
        assert_eq!(of(&schema), format!("export type T = {expected};"), "{schema}");
    }
}

#[test]
fn long_unions_are_broken_at_their_variants() {
    let names: Vec<String> = (0..8).map(|n| format!("a name of some length {n}")).collect();

    let text = of(&json!({"type": "object", "properties": {"name": {"enum": names}}}));

    assert!(
        text.starts_with(
            "export interface T {\n  name?:\n    | \"a name of some length 0\"\n    | "
        ),
        "{text}"
    );
    assert!(text.ends_with("\"a name of some length 7\";\n}"), "{text}");
}

#[test]
fn a_file_without_kinds_is_still_a_file() {
    let text = file(&Kinds::new());

    assert!(
        text.starts_with(HEAD) && text.ends_with("export const ID_FIELDS = {} as const;\n"),
        "{text}"
    );
    assert!(text.contains("export type Kinds = Empty;"));
}

#[test]
fn the_client_package_has_the_types_of_the_kinds_as_they_are_now() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../clients/typescript/src/generated.ts");
    let kinds = dormouse_kinds::all().unwrap();

    let committed = std::fs::read_to_string(path).unwrap();

    assert!(
        committed == file(&kinds),
        "clients/typescript/src/generated.ts is not what the kinds say now; run \
         `cargo run --bin dormouse -- types --out clients/typescript/src/generated.ts` and commit it"
    );
}

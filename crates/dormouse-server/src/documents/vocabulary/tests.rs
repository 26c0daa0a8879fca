use dormouse::{Cx, Empty, Error, Listing, Methods, Object, Session, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::*;

/// A kind whose types have names that are taken.
struct Tree;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
enum TreeEvent {
    Grown { leaf: Leaf, at: Timestamp },
}

/// Refers to itself, and has a default: it is received and sent as two different types.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Leaf {
    #[serde(default)]
    leaves: Vec<Leaf>,
}

/// The same for those who send it and those who receive it.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Place {
    x: i64,
}

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only its schema is read")]
struct Grow {
    leaf: Leaf,
    place: Place,
}

/// Named as an output is with the kind's name before it.
#[derive(Deserialize, JsonSchema)]
struct List {}

#[derive(Serialize, JsonSchema)]
struct TreeList {
    places: Vec<Place>,
}

#[derive(Serialize, JsonSchema)]
struct Pair<T> {
    left: T,
    right: T,
}

impl Object for Tree {
    const KIND: &'static str = "tree";
    type Event = TreeEvent;
    const MIGRATIONS: &'static [&'static str] = &[];

    fn methods() -> Methods<Self> {
        Methods::new()
            .mutation("grow", |_, _, _: Grow| Ok(Pair { left: 1, right: 2 }))
            .query("at", |_, cx, _: Empty| Ok(cx.now()))
            .listing("list", |_: &Listing<'_>, _: List| Ok(TreeList { places: Vec::new() }))
    }

    fn wake(_: &Cx<Self>) -> Result<Self, Error> {
        Ok(Tree)
    }

    fn initial(&self, _: &Cx<Self>, _: &Session) -> Result<Option<TreeEvent>, Error> {
        Ok(None)
    }
}

fn vocabulary() -> Vocabulary {
    let kinds = Kinds::new().register::<Tree>().unwrap();
    Vocabulary::of(&kinds, SchemaSettings::draft2020_12())
}

fn find<'a>(vocabulary: &'a Vocabulary, name: &str) -> &'a Value {
    &vocabulary.types.iter().find(|named| named.name == name).expect("the type is known").schema
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("{REFERENCE}{name}") })
}

#[test]
fn types_are_named_after_their_kind_and_come_in_the_order_of_their_use() {
    let vocabulary = vocabulary();

    let names: Vec<&str> = vocabulary.types.iter().map(|named| named.name.as_str()).collect();

    assert_eq!(
        names,
        [
            "Empty",
            "Timestamp",
            "TreeEvent",
            "TreeLeaf",
            "TreeGrow",
            "TreeLeafInput",
            "TreePlace",
            "TreePair",
            "TreeListInput",
            "TreeList",
        ]
    );
}

#[test]
fn every_reference_leads_to_the_type_that_it_led_to_before() {
    let vocabulary = vocabulary();
    let kind = &vocabulary.kinds[0];

    let input = |index: usize| &kind.methods[index].input;
    let output = |index: usize| &kind.methods[index].output;
    assert_eq!((input(0), output(0)), (&reference("TreeGrow"), &reference("TreePair")));
    assert_eq!((input(1), output(1)), (&reference("Empty"), &reference("Timestamp")));
    assert_eq!((input(2), output(2)), (&reference("TreeListInput"), &reference("TreeList")));
    let grow = &find(&vocabulary, "TreeGrow")["properties"];
    assert_eq!(
        (&grow["leaf"], &grow["place"]),
        (&reference("TreeLeafInput"), &reference("TreePlace"))
    );
    assert_eq!(
        find(&vocabulary, "TreeList")["properties"]["places"]["items"],
        reference("TreePlace")
    );
    for name in ["TreeLeaf", "TreeLeafInput"] {
        let leaves = &find(&vocabulary, name)["properties"]["leaves"];
        assert_eq!(leaves["items"], reference(name));
    }
}

#[test]
fn a_name_that_is_taken_by_another_kind_gets_a_number() {
    let mut taken = BTreeSet::new();

    let names = ["NoteBook", "NoteBook", "NoteBook"].map(|name| take(&mut taken, name.to_owned()));

    assert_eq!(names, ["NoteBook", "NoteBook2", "NoteBook3"]);
    assert_eq!(with_prefix("NoteBook", "Map_of_uint64"), "NoteBookMapOfUint64");
    assert_eq!(pascal_case("note-book"), "NoteBook");
}

#[test]
fn data_in_a_schema_is_not_a_reference() {
    let mut schema = json!({
        "default": {"$ref": "a"}, "properties": {"$ref": {"$ref": "b"}}, "anyOf": [{"$ref": "c"}]
    });
    let mut seen = Vec::new();

    each_reference(&mut schema, &mut |reference| seen.push(reference.clone()));

    assert_eq!(seen, ["c", "b"]);
}

//! What clients of a kind say and hear, as JSON Schema: what types and documents are made from.

use dormouse_store::Timestamp;
use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value};

use crate::methods::{Empty, MethodKind};

/// Makes the schema of one type, or a reference to it, and defines what it refers to.
pub(crate) type MakeSchema = fn(&mut SchemaGenerator) -> Schema;

/// A kind as its clients see it.
///
/// A type may look different to those who send it and to those who receive it: `#[serde(default)]`
/// makes a field optional only for the first. So there are two sets of definitions.
#[derive(Clone, Debug)]
pub struct Description {
    /// Name in addresses.
    pub kind: &'static str,
    /// The field of inputs that names the object. No schema here has it.
    pub id_field: &'static str,
    /// What its sockets receive. Refers to [`sent`](Self::sent).
    pub event: Value,
    /// In the order in which they were registered.
    pub methods: Vec<MethodDescription>,
    /// What clients may send over a socket beside calls, in the order in which they were registered.
    pub messages: Vec<MessageDescription>,
    /// Schemas by name that inputs refer to: of what the server receives.
    pub received: Map<String, Value>,
    /// Schemas by name that outputs and events refer to: of what the server sends.
    pub sent: Map<String, Value>,
}

/// A method as its callers see it.
#[derive(Clone, Debug)]
pub struct MethodDescription {
    /// Its name within the kind.
    pub name: &'static str,
    /// Whether it writes, and how its object is found.
    pub kind: MethodKind,
    /// What it takes beside the object's id. Refers to [`Description::received`].
    pub input: Value,
    /// What it answers. Refers to [`Description::sent`].
    pub output: Value,
}

/// A message of clients that is no call.
#[derive(Clone, Debug)]
pub struct MessageDescription {
    /// Its `type`.
    pub name: &'static str,
    /// Its other fields. Refers to [`Description::received`].
    pub fields: Value,
}

/// Collects the schemas of one [`Description`].
pub(crate) struct Descriptions {
    received: SchemaGenerator,
    sent: SchemaGenerator,
}

impl Description {
    /// The types that are the same in every kind because they come with this crate, by name, as they
    /// are defined in any description with these settings.
    pub fn shared(settings: SchemaSettings) -> Map<String, Value> {
        let mut made = Descriptions::new(settings);
        made.received(SchemaGenerator::subschema_for::<Empty>);
        made.sent(SchemaGenerator::subschema_for::<Timestamp>);
        let (mut shared, sent) = made.definitions();
        shared.extend(sent);
        shared
    }
}

impl Descriptions {
    /// `settings` say which dialect of JSON Schema, and how references are written. Their contract is
    /// ignored.
    pub(crate) fn new(settings: SchemaSettings) -> Descriptions {
        Descriptions {
            received: settings.clone().for_deserialize().into_generator(),
            sent: settings.for_serialize().into_generator(),
        }
    }

    /// The schema of something that the server receives.
    pub(crate) fn received(&mut self, make: MakeSchema) -> Value {
        schema(&mut self.received, make)
    }

    /// The schema of something that the server sends.
    pub(crate) fn sent(&mut self, make: MakeSchema) -> Value {
        schema(&mut self.sent, make)
    }

    /// What the schemas refer to: received, sent.
    pub(crate) fn definitions(mut self) -> (Map<String, Value>, Map<String, Value>) {
        (self.received.take_definitions(true), self.sent.take_definitions(true))
    }
}

fn schema(generator: &mut SchemaGenerator, make: MakeSchema) -> Value {
    let mut schema = make(generator);
    // Of definitions, `take_definitions` does this.
    for transform in generator.transforms_mut() {
        transform.transform(&mut schema);
    }
    schema.to_value()
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    use super::*;

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Step {
        #[serde(default)]
        amount: i64,
        #[serde(skip_serializing)]
        #[expect(dead_code, reason = "only its schema is read")]
        hint: Option<String>,
    }

    #[test]
    fn a_type_is_described_as_it_is_received_and_as_it_is_sent() {
        let mut made = Descriptions::new(SchemaSettings::draft2020_12());

        let input = made.received(SchemaGenerator::subschema_for::<Step>);
        let output = made.sent(SchemaGenerator::subschema_for::<Vec<Step>>);
        let (received, sent) = made.definitions();

        assert_eq!(input, json!({"$ref": "#/$defs/Step"}));
        assert_eq!(output["items"], input);
        assert_eq!(received["Step"].get("required"), None);
        assert_eq!(sent["Step"]["required"], json!(["amount"]));
        assert_eq!(sent["Step"]["properties"].get("hint"), None);
    }

    #[test]
    fn the_transforms_of_a_dialect_reach_every_schema() {
        let mut made = Descriptions::new(SchemaSettings::draft07());

        let pair = made.sent(SchemaGenerator::subschema_for::<(u8, String)>);

        assert_eq!(
            (pair.get("prefixItems"), pair["items"][1]["type"].as_str()),
            (None, Some("string"))
        );
    }

    #[test]
    fn what_all_kinds_share_is_known_by_name() {
        let shared = Description::shared(SchemaSettings::draft2020_12());

        assert_eq!(shared.keys().collect::<Vec<_>>(), ["Empty", "Timestamp"]);
    }
}

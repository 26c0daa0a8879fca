//! The event types of a kind, read from its event enum's JSON Schema.

use schemars::JsonSchema;
use serde_json::Value;

use crate::error::Error;

/// Most event types a kind may have: a socket's filter is one bit for each.
pub const EVENT_TYPES_MAX: usize = 128;

/// The values that `type` can have in the events of a kind, in the order of its enum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTypes {
    names: Vec<String>,
}

impl EventTypes {
    /// Reads the types from the schema of an enum tagged by `type`.
    ///
    /// `None` if some variant has no constant `type`, or there are more than
    /// [`EVENT_TYPES_MAX`].
    pub(crate) fn of<E: JsonSchema>() -> Option<EventTypes> {
        let schema = schemars::schema_for!(E).to_value();
        let variants = match schema.get("oneOf").or_else(|| schema.get("anyOf")) {
            Some(Value::Array(variants)) => variants.as_slice(),
            Some(_) => return None,
            // An enum of one variant is an object schema of its own.
            None => std::slice::from_ref(&schema),
        };
        let names = variants.iter().map(type_of).collect::<Option<Vec<String>>>()?;
        (names.len() <= EVENT_TYPES_MAX).then_some(EventTypes { names })
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The place of a name in the list; `None` for a name the kind does not have (any more).
    pub fn index(&self, name: &str) -> Option<u8> {
        let index = self.names.iter().position(|known| known == name)?;
        u8::try_from(index).ok()
    }

    /// The filter that lets these event types pass, one bit for each.
    ///
    /// # Errors
    ///
    /// BAD_REQUEST that names the first unknown type and lists the known ones.
    pub fn mask<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<u128, Error> {
        let mut mask = 0;
        for name in names {
            let Some(index) = self.index(name) else {
                let known = self.names.join(", ");
                return Err(Error::bad_request(format!("no event type {name:?}; known: {known}")));
            };
            mask |= 1 << index;
        }
        Ok(mask)
    }
}

fn type_of(variant: &Value) -> Option<String> {
    let tag = variant.get("properties")?.get("type")?;
    let name = tag.get("const").or_else(|| tag.get("enum")?.get(0))?;
    name.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(JsonSchema)]
    #[serde(tag = "type", rename_all = "camelCase")]
    #[expect(dead_code, reason = "only its schema is read")]
    enum Door {
        Opened { by: String },
        SlammedShut,
    }

    #[test]
    fn names_come_from_the_enum_in_order() {
        let types = EventTypes::of::<Door>().unwrap();

        assert_eq!(types.names().collect::<Vec<_>>(), ["opened", "slammedShut"]);
        assert_eq!(types.index("slammedShut"), Some(1));
        assert_eq!(types.mask(["slammedShut"]).unwrap(), 0b10);
    }

    #[test]
    fn an_unknown_name_in_a_filter_is_refused_with_the_known_ones() {
        let err = EventTypes::of::<Door>().unwrap().mask(["opened", "melted"]).unwrap_err();

        assert_eq!(err.message(), r#"no event type "melted"; known: opened, slammedShut"#);
    }

    #[test]
    fn a_type_without_a_tag_is_not_an_event() {
        assert_eq!(EventTypes::of::<Vec<String>>(), None);
    }
}

//! What whoever runs a server may set about a kind.

use std::any::Any;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// The name of the setting that every kind has.
const SOCKETS_MAX: &str = "sockets_max";

/// The settings of one kind.
#[derive(Clone)]
pub(crate) struct KindSettings {
    /// Most sockets of one object.
    pub(crate) sockets_max: NonZeroU32,
    own: Own,
    read: ReadOwn,
}

/// The kind's own settings, in a type of its own.
type Own = Arc<dyn Any + Send + Sync>;

type ReadOwn = fn(Value) -> Result<Own, String>;

impl KindSettings {
    /// The settings of a kind that was told nothing.
    pub(crate) fn of<T>(sockets_max: NonZeroU32) -> KindSettings
    where
        T: DeserializeOwned + Default + Send + Sync + 'static,
    {
        KindSettings { sockets_max, own: Arc::new(T::default()), read: read_own::<T> }
    }

    /// Takes what was set.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub(crate) fn set(&mut self, settings: Value) -> Result<(), String> {
        let Value::Object(mut settings) = settings else {
            return Err("must be a table".to_owned());
        };
        if let Some(value) = settings.remove(SOCKETS_MAX) {
            self.sockets_max = serde_json::from_value(value)
                .map_err(|_| format!("`{SOCKETS_MAX}` must be a whole number from 1 on"))?;
        }
        self.own = (self.read)(Value::Object(settings))?;
        Ok(())
    }

    /// The kind's own settings, if they are a `T`.
    pub(crate) fn own<T: 'static>(&self) -> Option<&T> {
        self.own.downcast_ref()
    }
}

fn read_own<T: DeserializeOwned + Send + Sync + 'static>(settings: Value) -> Result<Own, String> {
    let read: T = serde_path_to_error::deserialize(settings).map_err(|err| err.to_string())?;
    Ok(Arc::new(read))
}

/// The settings of a kind that has none of its own.
#[derive(Clone, Copy, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoSettings {}

impl fmt::Debug for KindSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KindSettings")
            .field("sockets_max", &self.sockets_max)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Door {
        keys: u8,
    }

    fn door() -> KindSettings {
        KindSettings::of::<Door>(NonZeroU32::MIN)
    }

    #[test]
    fn what_every_kind_has_and_what_is_its_own_stand_side_by_side() {
        let mut settings = door();

        settings.set(json!({"sockets_max": 7, "keys": 3})).unwrap();

        assert_eq!(settings.sockets_max.get(), 7);
        assert_eq!(settings.own(), Some(&Door { keys: 3 }));
        assert_eq!(settings.own::<u8>(), None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refused = |value| door().set(value).unwrap_err();

        assert!(refused(json!({"keys": 300})).contains("keys"));
        assert!(refused(json!({"locks": 1})).contains("locks"));
        assert!(refused(json!({"sockets_max": 0})).contains("sockets_max"));
        assert_eq!(refused(json!(1)), "must be a table");
    }
}

//! All kinds of a server, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use dormouse_store::{KeyError, TemplateError};
use serde_json::Value;

use crate::event_types::EVENT_TYPES_MAX;
use crate::kind::{Kind, SUBSCRIPTION};
use crate::object::Object;

/// All kinds of a server.
#[derive(Debug, Default)]
pub struct Kinds {
    by_name: BTreeMap<&'static str, Arc<Kind>>,
}

/// Why a kind cannot be registered. Each is a mistake of the kind's author.
#[derive(Debug, thiserror::Error)]
pub enum KindError {
    /// Two kinds have the same name.
    #[error("kind {0:?} is registered twice")]
    Twice(&'static str),
    /// The name cannot be part of an address.
    #[error("kind {name:?} has a name that is not allowed")]
    Name {
        /// The name.
        name: &'static str,
        /// What is wrong with it.
        #[source]
        source: KeyError,
    },
    /// The events are not an enum with `#[serde(tag = "type")]`.
    #[error(
        "the events of kind {0:?} must be an enum tagged by `type` with at most {EVENT_TYPES_MAX} variants"
    )]
    Events(&'static str),
    /// Two methods have the same name.
    #[error("kind {kind:?} has two methods named {method:?}")]
    MethodTwice {
        /// The kind.
        kind: &'static str,
        /// The method.
        method: &'static str,
    },
    /// The kind is named like one of the [`NAMES_OF_SETTINGS`](crate::NAMES_OF_SETTINGS).
    #[error("a kind cannot be named {0:?}: the settings file has a setting of that name")]
    NameOfSetting(&'static str),
    /// A method is named like the subscription that every kind has.
    #[error("kind {0:?} has a method named {SUBSCRIPTION:?}, which is what its events are called")]
    Reserved(&'static str),
    /// Two messages have the same name, or one has the name of a message that every kind has.
    #[error("kind {kind:?} has a message named {message:?} twice, or it is not free")]
    Message {
        /// The kind.
        kind: &'static str,
        /// The message.
        message: &'static str,
    },
    /// The migrations do not run.
    #[error("the migrations of kind {kind:?} do not run")]
    Migrations {
        /// The kind.
        kind: &'static str,
        /// Which step, and what SQLite says.
        #[source]
        source: Box<TemplateError>,
    },
}

/// Settings of a kind that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the settings of kind {kind:?}: {what}")]
pub struct KindSettingsError {
    kind: String,
    what: String,
}

impl Kinds {
    /// No kinds yet.
    pub fn new() -> Kinds {
        Kinds::default()
    }

    /// Adds a kind: checks its names and runs its migrations once, in memory.
    ///
    /// # Errors
    ///
    /// A mistake in the kind; see [`KindError`].
    pub fn register<O: Object>(mut self) -> Result<Kinds, KindError> {
        let kind = Kind::of::<O>()?;
        if self.by_name.insert(O::KIND, Arc::new(kind)).is_some() {
            return Err(KindError::Twice(O::KIND));
        }
        Ok(self)
    }

    /// The kind of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Kind>> {
        self.by_name.get(name)
    }

    /// The kind of that name, if clients may know it.
    pub fn public(&self, name: &str) -> Option<&Arc<Kind>> {
        self.get(name).filter(|kind| !kind.is_shard())
    }

    /// All kinds that clients may know, by name.
    pub fn all_public(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.by_name.values().filter(|kind| !kind.is_shard())
    }

    /// Takes what was set about a kind: the table of its name in the settings.
    ///
    /// # Errors
    ///
    /// What is wrong with it. Nothing has changed.
    pub fn configure(&mut self, name: &str, settings: Value) -> Result<(), KindSettingsError> {
        let wrong = |what| KindSettingsError { kind: name.to_owned(), what };
        let kind = self.by_name.get_mut(name);
        let kind = kind.ok_or_else(|| wrong("there is no such kind".to_owned()))?;
        let kind = Arc::get_mut(kind);
        let kind = kind.ok_or_else(|| wrong("the kind is in use already".to_owned()))?;
        kind.configure(settings).map_err(wrong)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.by_name.keys().copied()
    }
}

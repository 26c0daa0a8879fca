//! What a kind may not be.

use dormouse::{Cx, Error, KindError, Kinds, Methods, Object, Session};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Called like a table of the settings file.
struct Auth;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
enum AuthEvent {
    Nothing {},
}

impl Object for Auth {
    const KIND: &'static str = "auth";
    type Event = AuthEvent;
    const MIGRATIONS: &'static [&'static str] = &[];

    fn methods() -> Methods<Self> {
        Methods::new()
    }

    fn wake(_: &Cx<Self>) -> Result<Self, Error> {
        Ok(Auth)
    }

    fn initial(&self, _: &Cx<Self>, _: &Session) -> Result<Option<AuthEvent>, Error> {
        Ok(None)
    }
}

#[test]
fn a_kind_cannot_have_the_name_of_a_setting() {
    let refused = Kinds::new().register::<Auth>().unwrap_err();

    assert!(matches!(refused, KindError::NameOfSetting("auth")), "{refused}");
}

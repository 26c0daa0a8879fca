//! What a token says about its bearer.

use std::sync::Arc;
use std::time::Duration;

use actix_http::Uri;
use dormouse::{Timestamp, User};
use serde::Deserialize;

use crate::auth::pattern::Pattern;
use crate::auth::token::TokenFault;

/// How far the clocks of two machines may be apart. A token is taken for so long after it expired, and
/// so long before it begins.
pub(crate) const LEEWAY: Duration = Duration::from_secs(5);

/// Longest id and name of a user, in characters.
const NAME_CHARS_MAX: usize = 256;

/// Most permissions of a token, and most patterns.
const LIST_MAX: usize = 64;

/// Longest permission and pattern, in bytes.
const LIST_ITEM_BYTES_MAX: usize = 1024;

/// Longest address of a picture, in bytes.
const AVATAR_BYTES_MAX: usize = 2048;

/// Whom a token was made for, and what for. Empty: it does not matter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expectations {
    pub(crate) audiences: Vec<String>,
    pub(crate) issuers: Vec<String>,
}

/// The bearer of a valid token.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) user: Arc<User>,
    /// The token's `exp`.
    pub(crate) expires_at: Timestamp,
    /// Which objects it is for; `None` for all.
    objects: Option<Vec<Pattern>>,
}

/// Others are not looked at: tokens are made for several services.
#[derive(Debug, Deserialize)]
struct Claims {
    sub: String,
    exp: NumericDate,
    #[serde(default)]
    nbf: Option<NumericDate>,
    #[serde(default)]
    iss: Option<String>,
    #[serde(default)]
    aud: Option<Audience>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    permissions: Option<Vec<String>>,
    #[serde(default)]
    avatar: Option<String>,
    #[serde(default)]
    objects: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a string, or a list of strings")]
enum Audience {
    One(String),
    More(Vec<String>),
}

/// Seconds since 1970, possibly with a fraction.
#[derive(Clone, Copy, Debug, Deserialize)]
struct NumericDate(f64);

impl Identity {
    /// Reads and checks the claims of a token whose signature is right.
    ///
    /// # Errors
    ///
    /// The first claim that is wrong.
    pub(super) fn read(
        claims: &[u8],
        expected: &Expectations,
        now: Timestamp,
    ) -> Result<Identity, TokenFault> {
        let claims: Claims =
            serde_json::from_slice(claims).map_err(|err| TokenFault::Claims(err.to_string()))?;
        let expires_at = claims.exp.timestamp();
        if now >= with_leeway(expires_at) {
            return Err(TokenFault::Expired);
        }
        if claims.nbf.is_some_and(|begins| begins.timestamp() > with_leeway(now)) {
            return Err(TokenFault::NotYetValid);
        }
        let Expectations { audiences, issuers } = expected;
        if !audiences.is_empty()
            && !claims.aud.as_ref().is_some_and(|named| named.has_one_of(audiences))
        {
            return Err(TokenFault::Audience);
        }
        if !issuers.is_empty() && !claims.iss.is_some_and(|issuer| issuers.contains(&issuer)) {
            return Err(TokenFault::Issuer);
        }
        let Claims { sub, username, permissions, avatar, objects, .. } = claims;
        let id = name("sub", sub)?;
        let user = User {
            username: username.map_or_else(|| Ok(id.clone()), |text| name("username", text))?,
            avatar: avatar.map(picture).transpose()?,
            permissions: list("permissions", permissions.unwrap_or_default())?,
            id,
        };
        let objects = objects.map(patterns).transpose()?;
        Ok(Identity { user: Arc::new(user), expires_at, objects })
    }

    /// When sockets that were opened with the token are closed.
    pub(crate) fn ends_at(&self) -> Timestamp {
        with_leeway(self.expires_at)
    }

    /// Whether the token is for this object.
    pub(crate) fn covers(&self, kind: &str, id: &str) -> bool {
        self.any_pattern(|pattern| pattern.matches(kind, id))
    }

    /// Whether the token is for all objects of this kind.
    pub(crate) fn covers_kind(&self, kind: &str) -> bool {
        self.any_pattern(|pattern| pattern.matches_all_of(kind))
    }

    fn any_pattern(&self, holds: impl Fn(&Pattern) -> bool) -> bool {
        self.objects.as_ref().is_none_or(|patterns| patterns.iter().any(holds))
    }
}

impl NumericDate {
    #[expect(clippy::cast_possible_truncation, reason = "what is out of range becomes the nearest")]
    fn timestamp(self) -> Timestamp {
        Timestamp::from_ms((self.0 * 1000.0) as i64)
    }
}

impl Audience {
    fn has_one_of(&self, expected: &[String]) -> bool {
        match self {
            Audience::One(named) => expected.contains(named),
            Audience::More(named) => named.iter().any(|named| expected.contains(named)),
        }
    }
}

fn with_leeway(time: Timestamp) -> Timestamp {
    // Past the last year there is nothing to wait for.
    time.checked_add(LEEWAY).unwrap_or(time)
}

fn name(claim: &str, text: String) -> Result<String, TokenFault> {
    let chars = text.chars().count();
    if !(1..=NAME_CHARS_MAX).contains(&chars) || text.chars().any(char::is_control) {
        let what =
            format!("`{claim}` has 1 to {NAME_CHARS_MAX} characters and no control characters");
        return Err(TokenFault::Claims(what));
    }
    Ok(text)
}

fn list(claim: &str, items: Vec<String>) -> Result<Vec<String>, TokenFault> {
    let are_short = items.iter().all(|item| (1..=LIST_ITEM_BYTES_MAX).contains(&item.len()));
    if items.len() > LIST_MAX || !are_short {
        let what =
            format!("`{claim}` has at most {LIST_MAX} entries of 1 to {LIST_ITEM_BYTES_MAX} bytes");
        return Err(TokenFault::Claims(what));
    }
    Ok(items)
}

fn patterns(texts: Vec<String>) -> Result<Vec<Pattern>, TokenFault> {
    let wrong = || {
        let what = "`objects` has patterns such as `note/*`, `channel/room-*`, `*`: \
                    a kind and an id, with `*` only at the end";
        TokenFault::Claims(what.to_owned())
    };
    let texts = list("objects", texts)?;
    texts.iter().map(|text| Pattern::parse(text).ok_or_else(wrong)).collect()
}

/// Other people's browsers load it: nothing but an address on the web may stand there.
fn picture(text: String) -> Result<String, TokenFault> {
    let is_address = text.len() <= AVATAR_BYTES_MAX
        && text.parse::<Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty())
        });
    if !is_address {
        let what =
            format!("`avatar` is an http or https address of at most {AVATAR_BYTES_MAX} bytes");
        return Err(TokenFault::Claims(what));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_000_000_000);

    fn read(more: &Value) -> Result<Identity, TokenFault> {
        read_for(more, &Expectations::default())
    }

    fn read_for(more: &Value, expected: &Expectations) -> Result<Identity, TokenFault> {
        let mut claims = json!({"sub": "alice", "exp": 1_000_060});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        claims.as_object_mut().unwrap().retain(|_, value| value != "absent");
        Identity::read(claims.to_string().as_bytes(), expected, NOW)
    }

    #[test]
    fn a_subject_and_an_expiry_are_enough_and_give_nothing() {
        let identity = read(&json!({})).unwrap();

        assert_eq!(*identity.user, User::new("alice", "alice"));
        assert_eq!(identity.expires_at, Timestamp::from_ms(1_000_060_000));
        assert!(identity.covers("note", "a") && identity.covers_kind("note"));
    }

    #[test]
    fn a_token_counts_from_its_beginning_to_its_end_and_a_little_longer() {
        for (claims, fault) in [
            (json!({"exp": 999_996}), None),
            (json!({"exp": 999_995.5}), None),
            (json!({"exp": 999_995}), Some(TokenFault::Expired)),
            (json!({"exp": 0}), Some(TokenFault::Expired)),
            (json!({"exp": -1e300}), Some(TokenFault::Expired)),
            (json!({"exp": 1e300}), None),
            (json!({"nbf": 1_000_005}), None),
            (json!({"nbf": 1_000_006}), Some(TokenFault::NotYetValid)),
        ] {
            assert_eq!(read(&claims).err(), fault, "{claims}");
        }
    }

    #[test]
    fn audience_and_issuer_count_when_they_are_expected() {
        let expected =
            Expectations { audiences: vec!["us".to_owned()], issuers: vec!["them".to_owned()] };
        for (claims, fault) in [
            (json!({"aud": "us", "iss": "them"}), None),
            (json!({"aud": ["others", "us"], "iss": "them"}), None),
            (json!({"iss": "them"}), Some(TokenFault::Audience)),
            (json!({"aud": ["others"], "iss": "them"}), Some(TokenFault::Audience)),
            (json!({"aud": "us"}), Some(TokenFault::Issuer)),
            (json!({"aud": "us", "iss": "themselves"}), Some(TokenFault::Issuer)),
        ] {
            assert_eq!(read_for(&claims, &expected).err(), fault, "{claims}");
        }
        assert!(read(&json!({"aud": "others", "iss": "others"})).is_ok());
    }

    #[test]
    fn a_claim_of_another_shape_is_refused() {
        for claims in [
            json!({"sub": "absent"}),
            json!({"sub": ""}),
            json!({"sub": 7}),
            json!({"sub": "a\nb"}),
            json!({"sub": "x".repeat(257)}),
            json!({"exp": "absent"}),
            json!({"exp": "1000060"}),
            json!({"exp": null}),
            json!({"nbf": "now"}),
            json!({"username": ""}),
            json!({"username": ["a"]}),
            json!({"permissions": "read"}),
            json!({"permissions": [1]}),
            json!({"permissions": [""]}),
            json!({"permissions": vec!["read"; 65]}),
            json!({"avatar": "javascript:alert(1)"}),
            json!({"avatar": "/picture.png"}),
            json!({"avatar": "https:///picture.png"}),
            json!({"avatar": format!("https://a.example/{}", "x".repeat(2048))}),
            json!({"objects": "note/*"}),
            json!({"objects": ["note"]}),
            json!({"objects": ["no*e/a"]}),
            json!({"objects": vec!["note/*"; 65]}),
        ] {
            assert!(matches!(read(&claims), Err(TokenFault::Claims(_))), "{claims}");
        }
        let twice = br#"{"sub":"a","exp":1000060,"sub":"b"}"#;
        let read = Identity::read(twice, &Expectations::default(), NOW);
        assert!(matches!(read, Err(TokenFault::Claims(_))));
    }

    #[test]
    fn what_a_token_says_of_its_user_is_kept() {
        let identity = read(&json!({
            "username": "Alice",
            "permissions": ["read", "moderate"],
            "avatar": "https://a.example/alice.png",
            "objects": ["note/a", "channel/room-*"],
            "email": "ignored",
        }))
        .unwrap();

        let user = &identity.user;
        assert_eq!(user.username, "Alice");
        assert_eq!(user.avatar.as_deref(), Some("https://a.example/alice.png"));
        assert!(user.may("moderate") && !user.may(dormouse::WRITE));
        assert!(identity.covers("note", "a") && identity.covers("channel", "room-7"));
        assert!(!identity.covers("note", "b") && !identity.covers_kind("channel"));
    }
}

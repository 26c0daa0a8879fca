//! Who somebody is, and what they may do.
//!
//! A request proves by a token whose it is. The way of a token: [`credentials`] finds it in a request,
//! [`token`] checks its signature with one of the keys of the [`key_store`], [`claims`] says what it is
//! good for, and [`policy`] whether that is needed.
//!
//! # Invariants
//!
//! * **The key decides.** The algorithm is that of the key in the settings. What a token says about
//!   algorithm and key only ever picks among keys that are there, or none.
//! * **A token that is there counts.** If it is invalid, the request is refused, also where none is
//!   needed; if it is valid, the request may do what the token allows, and not more. A server without
//!   keys looks at no token.
//! * **Tokens leave no trace.** No token, nor a part of one, is logged or part of a metric.

mod claims;
mod credentials;
mod denial;
mod jwks;
mod key_fetches;
mod key_store;
mod keys;
mod pattern;
mod policy;
mod signing;
mod token;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::http::header::HeaderMap;
use dormouse::{Clock, Key, Kind, Kinds, User};

use crate::auth::denial::Reason;
use crate::auth::key_fetches::Round;
use crate::settings::{AuthMode, AuthSettings};

pub(crate) use crate::auth::claims::{Expectations, Identity};
pub(crate) use crate::auth::denial::{Denial, challenge};
pub(crate) use crate::auth::jwks::JwksAddress;
pub(crate) use crate::auth::key_fetches::{KeyFetches, Refreshes};
pub(crate) use crate::auth::key_store::{KeyReloads, KeyStore};
pub(crate) use crate::auth::keys::{
    Algorithm, KeyError, KeySettings, KeySource, SECRET_BYTES_MIN, Secret,
};
pub(crate) use crate::auth::policy::{Access, Policies, Policy, UnknownKind};
pub(crate) use crate::auth::signing::{TokenArgs, run as make_token};
pub(crate) use crate::auth::token::TokenFault;

/// The one place that decides who may do what.
#[derive(Debug)]
pub(crate) struct Auth {
    keys: Arc<KeyStore>,
    refreshes: Arc<Refreshes>,
    expected: Expectations,
    policies: Policies,
    clock: Arc<dyn Clock>,
    refused: [AtomicU64; Reason::ALL.len()],
}

/// Who makes a request.
#[derive(Clone, Debug)]
pub(crate) enum Visitor {
    /// It has no token, or the server no keys.
    Unknown,
    Known(Identity),
    /// It has a token that does not count.
    Refused(TokenFault),
}

/// Which objects a request is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scope<'a> {
    One(&'a str),
    /// All of the kind: a listing.
    All,
}

/// Why tokens cannot be checked as the settings say.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Kind(#[from] UnknownKind),
}

impl Auth {
    /// Reads the keys. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// A key cannot be used, or the settings name a kind that does not exist.
    pub(crate) fn new(
        settings: AuthSettings,
        kinds: &Kinds,
        clock: Arc<dyn Clock>,
    ) -> Result<Auth, AuthError> {
        let AuthSettings { mode, audiences, issuers, keys, kinds: named } = settings;
        let is_open = mode == Some(AuthMode::Open) || keys.is_empty();
        let fallback = if is_open { Policy::Open } else { Policy::Token };
        Ok(Auth {
            policies: Policies::new(kinds, named, fallback)?,
            keys: Arc::new(KeyStore::load(keys)?),
            refreshes: Arc::default(),
            expected: Expectations { audiences, issuers },
            clock,
            refused: Default::default(),
        })
    }

    /// Where the keys are kept.
    pub(crate) fn keys(&self) -> &Arc<KeyStore> {
        &self.keys
    }

    /// What has keys fetched.
    pub(crate) fn refreshes(&self) -> &Arc<Refreshes> {
        &self.refreshes
    }

    /// Finds out who makes a request. Waits for keys to be fetched if the token's is not known, for some
    /// seconds at most. A token that does not count is counted.
    pub(crate) async fn visitor(&self, headers: &HeaderMap, query: &str) -> Visitor {
        if self.keys.is_empty() {
            return Visitor::Unknown;
        }
        let identified = match credentials::find(headers, query) {
            Ok(None) => return Visitor::Unknown,
            Ok(Some(token)) => match self.identify(&token) {
                Err(TokenFault::UnknownKey) => self.identify_later(&token).await,
                identified => identified,
            },
            Err(fault) => Err(fault),
        };
        match identified {
            Ok(identity) => Visitor::Known(identity),
            Err(fault) => {
                self.deny(Denial::Token(fault.clone()));
                Visitor::Refused(fault)
            }
        }
    }

    /// Checks a token once more when keys have been fetched.
    async fn identify_later(&self, token: &str) -> Result<Identity, TokenFault> {
        let round = self.ask_for_keys().ok_or(TokenFault::UnknownKey)?;
        round.end().await;
        self.identify(token)
    }

    /// Has keys fetched, for a token whose key is not known. `None` if none are at addresses, or they were
    /// fetched a moment ago.
    pub(crate) fn ask_for_keys(&self) -> Option<Round> {
        if self.keys.has_addresses() { self.refreshes.ask() } else { None }
    }

    /// Checks a token.
    ///
    /// # Errors
    ///
    /// What is wrong with it. It is not counted.
    pub(crate) fn identify(&self, token: &str) -> Result<Identity, TokenFault> {
        token::check(token, &self.keys.ring(), &self.expected, self.clock.now())
    }

    /// Decides whether somebody may do something with objects of a kind. Of which objects is not asked
    /// yet: see [`cover`](Self::cover).
    ///
    /// # Errors
    ///
    /// Why not. It was counted.
    pub(crate) fn admit(
        &self,
        user: Option<&User>,
        kind: &Kind,
        access: Access,
    ) -> Result<(), Denial> {
        let policy = if kind.needs_user() { Policy::Token } else { self.policies.of(kind.name()) };
        match user {
            Some(user) if user.may(access.permission()) => Ok(()),
            Some(_) => Err(self.deny(Denial::Permission(access))),
            None if !policy.needs_token(access) => Ok(()),
            None if self.keys.is_empty() => Err(self.deny(Denial::NoKeys { kind: kind.name() })),
            None => Err(self.deny(Denial::Missing)),
        }
    }

    /// Decides whether a visitor's token is for these objects. One without a token passes:
    /// [`admit`](Self::admit) has asked for a token if one is needed.
    ///
    /// # Errors
    ///
    /// It is for others. That was counted.
    pub(crate) fn cover(
        &self,
        visitor: &Visitor,
        kind: &Kind,
        scope: Scope<'_>,
    ) -> Result<(), Denial> {
        let Visitor::Known(identity) = visitor else { return Ok(()) };
        let covers = match scope {
            Scope::One(id) => identity.covers(kind.name(), id),
            Scope::All => identity.covers_kind(kind.name()),
        };
        if covers { Ok(()) } else { Err(self.deny(Denial::Object)) }
    }

    /// Decides whether a visitor may do something with these objects.
    ///
    /// # Errors
    ///
    /// Why not. It was counted.
    pub(crate) fn permit(
        &self,
        visitor: &Visitor,
        kind: &Kind,
        access: Access,
        scope: Scope<'_>,
    ) -> Result<(), Denial> {
        self.admit(visitor.user()?.map(Arc::as_ref), kind, access)?;
        self.cover(visitor, kind, scope)
    }

    /// Decides whether a newer token, which was [checked](Self::identify), may take the place of that of a
    /// socket. It must be of the user that has the socket.
    ///
    /// # Errors
    ///
    /// Why not. It was counted.
    pub(crate) fn renew(
        &self,
        identified: Result<Identity, TokenFault>,
        user: Option<&User>,
        kind: &Kind,
        object: &Key,
    ) -> Result<Identity, Denial> {
        let identity = identified.map_err(|fault| self.deny(Denial::Token(fault)))?;
        if user.is_none_or(|user| user.id != identity.user.id) {
            return Err(self.deny(Denial::OtherUser));
        }
        self.admit(Some(&identity.user), kind, Access::Read)?;
        if !identity.covers(kind.name(), object.id()) {
            return Err(self.deny(Denial::Object));
        }
        Ok(identity)
    }

    /// How many requests were refused, by the name of the reason.
    pub(crate) fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Reason::ALL
            .iter()
            .map(|&reason| (reason.as_str(), self.refused[reason as usize].load(Ordering::Relaxed)))
    }

    /// Counts a denial, and gives it back.
    pub(crate) fn deny(&self, denial: Denial) -> Denial {
        self.refused[denial.reason() as usize].fetch_add(1, Ordering::Relaxed);
        denial
    }
}

impl Visitor {
    /// The user of the token.
    ///
    /// # Errors
    ///
    /// The token does not count. That was counted.
    pub(crate) fn user(&self) -> Result<Option<&Arc<User>>, Denial> {
        match self {
            Visitor::Unknown => Ok(None),
            Visitor::Known(identity) => Ok(Some(&identity.user)),
            Visitor::Refused(fault) => Err(Denial::Token(fault.clone())),
        }
    }

    /// Whose request it is, if that is proven.
    pub(crate) fn into_identity(self) -> Option<Identity> {
        match self {
            Visitor::Known(identity) => Some(identity),
            Visitor::Unknown | Visitor::Refused(_) => None,
        }
    }

    /// Whether the request has a token that does not count.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self, Visitor::Refused(_))
    }
}

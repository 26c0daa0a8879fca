//! Why somebody may not do what they want, and how that is said.

use actix_http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use dormouse::{Error, ErrorCode};

use crate::auth::policy::Access;
use crate::auth::token::TokenFault;
use crate::http::Problem;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Denial {
    /// It needs a token and has none.
    Missing,
    /// It needs a token, and the server has no key to check one with.
    NoKeys { kind: &'static str },
    /// Its token does not count.
    Token(TokenFault),
    /// Its token lacks a permission.
    Permission(Access),
    /// Its token is for other objects.
    Object,
    /// A token of somebody else, or any at all, for a socket that was opened without.
    OtherUser,
}

/// A reason, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Missing,
    NoKeys,
    Malformed,
    UnknownKey,
    Algorithm,
    Signature,
    Claims,
    Expired,
    NotYetValid,
    Audience,
    Issuer,
    Permission,
    Object,
    OtherUser,
}

impl Denial {
    /// As an error of a call.
    pub(crate) fn error(&self) -> Error {
        Error::new(self.code(), self.message())
    }

    /// As an answer outside of RPC.
    pub(crate) fn problem(&self) -> Problem {
        let code = self.code();
        let (status, challenge) = match code {
            ErrorCode::Forbidden => (StatusCode::FORBIDDEN, None),
            _ => (StatusCode::UNAUTHORIZED, Some(self.challenge())),
        };
        let problem = Problem::new(status, code.as_str(), self.message());
        match challenge {
            Some(challenge) => problem.header(header::WWW_AUTHENTICATE, challenge),
            None => problem,
        }
    }

    /// Whether a token or another one would help.
    fn code(&self) -> ErrorCode {
        match self {
            Denial::Missing | Denial::NoKeys { .. } | Denial::Token(_) => ErrorCode::Unauthorized,
            Denial::Permission(_) | Denial::Object | Denial::OtherUser => ErrorCode::Forbidden,
        }
    }

    fn message(&self) -> String {
        match self {
            Denial::Missing => {
                "a token is needed: send it as `Authorization: Bearer <token>`, as the subprotocol \
                 `bearer.<token>` beside `dormouse`, or as `?token=`"
                    .to_owned()
            }
            Denial::NoKeys { kind } => format!(
                "{kind} needs to know its users, and this server has no key to check tokens with: \
                 set DORMOUSE_AUTH_SECRET to at least 32 random bytes, restart, and make a token \
                 with `dormouse token --sub <name>`"
            ),
            Denial::Token(fault) => fault.message(),
            Denial::Permission(access) => {
                format!("the token lacks the permission `{}`", access.permission())
            }
            Denial::Object => "the token is for other objects".to_owned(),
            Denial::OtherUser => {
                "the token is not of the user who opened this socket; open a new one".to_owned()
            }
        }
    }

    fn challenge(&self) -> HeaderValue {
        challenge(matches!(self, Denial::Token(_)))
    }

    pub(super) fn reason(&self) -> Reason {
        match self {
            Denial::Missing => Reason::Missing,
            Denial::NoKeys { .. } => Reason::NoKeys,
            Denial::Token(fault) => match fault {
                TokenFault::TooLong | TokenFault::Malformed => Reason::Malformed,
                TokenFault::UnknownKey => Reason::UnknownKey,
                TokenFault::Algorithm => Reason::Algorithm,
                TokenFault::Signature => Reason::Signature,
                TokenFault::Claims(_) => Reason::Claims,
                TokenFault::Expired => Reason::Expired,
                TokenFault::NotYetValid => Reason::NotYetValid,
                TokenFault::Audience => Reason::Audience,
                TokenFault::Issuer => Reason::Issuer,
            },
            Denial::Permission(_) => Reason::Permission,
            Denial::Object => Reason::Object,
            Denial::OtherUser => Reason::OtherUser,
        }
    }
}

/// What `WWW-Authenticate` says beside a 401.
pub(crate) fn challenge(has_invalid_token: bool) -> HeaderValue {
    HeaderValue::from_static(if has_invalid_token {
        "Bearer error=\"invalid_token\""
    } else {
        "Bearer"
    })
}

impl Reason {
    pub(super) const ALL: [Reason; 14] = [
        Reason::Missing,
        Reason::NoKeys,
        Reason::Malformed,
        Reason::UnknownKey,
        Reason::Algorithm,
        Reason::Signature,
        Reason::Claims,
        Reason::Expired,
        Reason::NotYetValid,
        Reason::Audience,
        Reason::Issuer,
        Reason::Permission,
        Reason::Object,
        Reason::OtherUser,
    ];

    /// A label from a closed set.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Reason::Missing => "missing",
            Reason::NoKeys => "no_keys",
            Reason::Malformed => "malformed",
            Reason::UnknownKey => "unknown_key",
            Reason::Algorithm => "algorithm",
            Reason::Signature => "signature",
            Reason::Claims => "claims",
            Reason::Expired => "expired",
            Reason::NotYetValid => "not_yet_valid",
            Reason::Audience => "audience",
            Reason::Issuer => "issuer",
            Reason::Permission => "permission",
            Reason::Object => "object",
            Reason::OtherUser => "other_user",
        }
    }
}

//! Where a request carries its token.

use std::borrow::Cow;

use actix_web::http::header::{self, HeaderMap};

use crate::auth::token::TokenFault;

/// The scheme of `Authorization` that is ours. Others belong to proxies.
const SCHEME: &str = "bearer";

/// What a subprotocol begins with that is a token.
const SUBPROTOCOL_PREFIX: &str = "bearer.";

/// The parameter of an address. Browsers can give event streams nothing else.
const PARAMETER: &str = "token";

/// Finds the token of a request: in `Authorization`, among the subprotocols, in the query; the first of
/// these places that has one counts.
///
/// # Errors
///
/// What stands there cannot be one token.
pub(super) fn find<'a>(
    headers: &'a HeaderMap,
    query: &'a str,
) -> Result<Option<Cow<'a, str>>, TokenFault> {
    if let Some(token) = only(authorization(headers))? {
        return token.map(|token| Some(token.into())).ok_or(TokenFault::Malformed);
    }
    if let Some(token) = only(subprotocols(headers))? {
        return Ok(Some(token.into()));
    }
    let parameters = form_urlencoded::parse(query.as_bytes());
    only(parameters.filter(|(name, _)| name == PARAMETER).map(|(_, token)| token))
}

/// What comes after `Bearer`; `None` where it is not text.
fn authorization(headers: &HeaderMap) -> impl Iterator<Item = Option<&str>> {
    headers.get_all(header::AUTHORIZATION).filter_map(|value| {
        let bytes = value.as_bytes();
        let (scheme, token) = bytes.split_at_checked(SCHEME.len())?;
        let is_ours = scheme.eq_ignore_ascii_case(SCHEME.as_bytes())
            && token.first().is_none_or(|&byte| byte == b' ');
        is_ours.then(|| std::str::from_utf8(token).ok().map(str::trim))
    })
}

fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().strip_prefix(SUBPROTOCOL_PREFIX))
}

/// The only one. Of two, others may have looked at the other one.
fn only<T>(mut tokens: impl Iterator<Item = T>) -> Result<Option<T>, TokenFault> {
    let first = tokens.next();
    match tokens.next() {
        Some(_) => Err(TokenFault::Malformed),
        None => Ok(first),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn found(headers: &[(&'static str, &[u8])], query: &str) -> Result<Option<String>, TokenFault> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let value = HeaderValue::from_bytes(value).unwrap();
            map.append(HeaderName::from_static(name), value);
        }
        find(&map, query).map(|token| token.map(Cow::into_owned))
    }

    #[test]
    fn the_first_place_that_has_a_token_counts() {
        let authorization = ("authorization", &b"Bearer a.b.c"[..]);
        let protocol = ("sec-websocket-protocol", &b"dormouse, bearer.d.e.f"[..]);
        let is = |token: &str| Ok(Some(token.to_owned()));

        assert_eq!(found(&[authorization, protocol], "token=g"), is("a.b.c"));
        assert_eq!(found(&[protocol], "token=g"), is("d.e.f"));
        assert_eq!(found(&[], "since=1&token=g%2Eh"), is("g.h"));
        assert_eq!(found(&[], "since=1"), Ok(None));
    }

    #[test]
    fn another_scheme_is_no_token() {
        for other in [&b"Basic YTpi"[..], b"Bearerish x", b"", b"Bear", b"\xff\xff\xff\xff\xff\xff"]
        {
            assert_eq!(found(&[("authorization", other)], ""), Ok(None), "{other:?}");
        }
        for ours in [&b"bearer t"[..], b"BEARER t", b"Bearer   t "] {
            assert_eq!(found(&[("authorization", ours)], ""), Ok(Some("t".to_owned())));
        }
    }

    #[test]
    fn a_token_that_is_there_and_is_none_is_not_passed_over() {
        assert_eq!(found(&[("authorization", b"Bearer")], ""), Ok(Some(String::new())));
        assert_eq!(found(&[("authorization", b"Bearer \xff")], ""), Err(TokenFault::Malformed));
        assert_eq!(found(&[], "token="), Ok(Some(String::new())));
    }

    #[test]
    fn two_tokens_in_one_place_are_none() {
        let authorization = ("authorization", &b"Bearer a"[..]);

        assert_eq!(found(&[authorization, authorization], ""), Err(TokenFault::Malformed));
        assert_eq!(found(&[], "token=a&token=a"), Err(TokenFault::Malformed));
        assert_eq!(
            found(&[("sec-websocket-protocol", b"bearer.a, bearer.b")], ""),
            Err(TokenFault::Malformed)
        );
    }
}

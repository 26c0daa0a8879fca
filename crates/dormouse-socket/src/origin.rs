//! Which web pages may talk to this server.
//!
//! A browser sends `Origin` with every WebSocket handshake, and lets any page open one: whoever
//! does not check it serves every page that its user visits.

use actix_http::header::{self, HeaderMap};
use actix_http::{RequestHead, StatusCode};

/// Names under which a machine reaches itself.
const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Rules for the headers `Origin` and `Host`, for handshakes, plain requests and CORS alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginRules {
    rule: Rule,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    Loopback,
    List(Vec<String>),
    Any,
}

/// Why a request may not be served. The status is always 403.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// The page is not on the list.
    #[error("pages of {origin} may not use this server; add it to the allowed origins")]
    NotAllowed {
        /// The header's value.
        origin: String,
    },
    /// The page has no origin that could be allowed, such as a file or a sandboxed frame.
    #[error(
        "pages without an origin of their own may not use this server; serve the page over http"
    )]
    Opaque,
    /// The server was reached under a name that is not its own: a page can have its own name point
    /// here.
    #[error(
        "this server answers only to localhost, 127.0.0.1 and [::1]; use one of them in the URL"
    )]
    Host,
    /// A header comes twice, or is not text.
    #[error("send `Origin` and `Host` once each")]
    Malformed,
}

impl OriginError {
    /// The status to answer with.
    pub const fn status(&self) -> StatusCode {
        StatusCode::FORBIDDEN
    }
}

/// Why a list of origins cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{origin}` is not an origin: write scheme and host, and the port if it is not the default, such as https://app.example.com"
)]
pub struct OriginRuleError {
    /// The entry that is wrong.
    pub origin: String,
}

impl OriginRules {
    /// The rules of a server on loopback: pages of any port of `localhost`, `127.0.0.1` and
    /// `[::1]`, and only requests whose `Host` is one of these names.
    pub const fn loopback() -> OriginRules {
        OriginRules { rule: Rule::Loopback }
    }

    /// Exactly these origins, such as `https://app.example.com`. `Host` is not checked.
    ///
    /// # Errors
    ///
    /// [`OriginRuleError`] for the first entry that has no scheme or no host, or more than an origin
    /// has.
    pub fn list<I>(origins: I) -> Result<OriginRules, OriginRuleError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let origins = origins.into_iter().map(|origin| {
            let origin = origin.as_ref();
            split(origin)
                .map(|_| origin.to_ascii_lowercase())
                .ok_or_else(|| OriginRuleError { origin: origin.to_owned() })
        });
        Ok(OriginRules { rule: Rule::List(origins.collect::<Result<_, _>>()?) })
    }

    /// Every page, and pages without an origin. Only for servers whose clients prove who they are.
    pub const fn any() -> OriginRules {
        OriginRules { rule: Rule::Any }
    }

    /// Judges a request. A request without `Origin` does not come from a page and is allowed.
    ///
    /// # Errors
    ///
    /// An [`OriginError`], to be answered with 403.
    pub fn check(&self, head: &RequestHead) -> Result<(), OriginError> {
        let headers = head.headers();
        match &self.rule {
            Rule::Any => return Ok(()),
            Rule::List(_) => {}
            Rule::Loopback => {
                // HTTP/2 has the name in the URI instead.
                let host = match only(headers, &header::HOST)? {
                    Some(host) => host,
                    None => head.uri.authority().map_or("", |authority| authority.as_str()),
                };
                if !is_loopback(host) {
                    return Err(OriginError::Host);
                }
            }
        }
        match only(headers, &header::ORIGIN)? {
            None => Ok(()),
            Some(origin) if self.allows(origin) => Ok(()),
            Some(origin) if origin.eq_ignore_ascii_case("null") => Err(OriginError::Opaque),
            Some(origin) => Err(OriginError::NotAllowed { origin: origin.to_owned() }),
        }
    }

    /// Whether pages of this origin are allowed, for the answer to a CORS request.
    pub fn allows(&self, origin: &str) -> bool {
        match &self.rule {
            Rule::Any => true,
            Rule::List(origins) => origins.iter().any(|known| known.eq_ignore_ascii_case(origin)),
            Rule::Loopback => split(origin).is_some_and(|(scheme, host)| {
                let is_web =
                    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
                is_web && is_loopback(host)
            }),
        }
    }
}

/// Splits an origin into scheme and authority; `None` if it has more or less than that.
fn split(origin: &str) -> Option<(&str, &str)> {
    let (scheme, authority) = origin.split_once("://")?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let is_authority = !authority.is_empty()
        && authority.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@,".contains(&byte));
    (is_scheme && is_authority).then_some((scheme, authority))
}

/// Whether an authority is one of the loopback names, with any port or none.
fn is_loopback(authority: &str) -> bool {
    LOOPBACK_NAMES.iter().any(|name| {
        let Some((host, rest)) = authority.split_at_checked(name.len()) else { return false };
        host.eq_ignore_ascii_case(name) && (rest.is_empty() || is_port(rest))
    })
}

fn is_port(rest: &str) -> bool {
    rest.strip_prefix(':').is_some_and(|port| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
    })
}

fn only<'a>(
    headers: &'a HeaderMap,
    name: &header::HeaderName,
) -> Result<Option<&'a str>, OriginError> {
    let mut values = headers.get_all(name);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(OriginError::Malformed);
    }
    value.to_str().map(Some).map_err(|_| OriginError::Malformed)
}

#[cfg(test)]
mod tests {
    use actix_http::test::TestRequest;

    use super::*;

    fn check(rules: &OriginRules, headers: &[(&'static str, &str)]) -> Result<(), OriginError> {
        let mut request = TestRequest::with_uri("/ws/counter/a");
        for header in headers {
            request.append_header(*header);
        }
        rules.check(request.finish().head())
    }

    #[test]
    fn loopback_allows_its_own_names_with_any_port_and_clients_that_are_no_page() {
        let rules = OriginRules::loopback();

        for host in ["localhost:8094", "LOCALHOST", "127.0.0.1:8094", "[::1]:8094", "[::1]"] {
            assert_eq!(check(&rules, &[("host", host)]), Ok(()), "{host}");
        }
        for origin in ["http://localhost:3014", "https://127.0.0.1", "http://[::1]:1"] {
            let headers = [("host", "localhost"), ("origin", origin)];
            assert_eq!(check(&rules, &headers), Ok(()), "{origin}");
        }
    }

    #[test]
    fn loopback_refuses_foreign_pages_and_foreign_names() {
        let rules = OriginRules::loopback();

        for origin in [
            "https://evil.example",
            "http://localhost.evil.example",
            "http://localhost:80@evil.example",
            "http://localhost:99999",
            "http://localhost:",
            "http://localhost/",
            "ftp://localhost",
            "localhost",
        ] {
            let refused = Err(OriginError::NotAllowed { origin: origin.to_owned() });
            let headers = [("host", "localhost"), ("origin", origin)];
            assert_eq!(check(&rules, &headers), refused, "{origin}");
        }
        for host in ["evil.example", "localhost.evil.example:8094", "127.0.0.1.evil.example", ""] {
            assert_eq!(check(&rules, &[("host", host)]), Err(OriginError::Host), "{host}");
        }
        let null = [("host", "localhost"), ("origin", "null")];
        assert_eq!(check(&rules, &null), Err(OriginError::Opaque));
        assert_eq!(check(&rules, &[]), Err(OriginError::Host), "no host at all");
    }

    #[test]
    fn a_list_allows_what_it_names_and_nothing_like_it() {
        let rules =
            OriginRules::list(["https://app.example.com", "http://localhost:3014"]).unwrap();

        assert!(rules.allows("https://APP.example.com"));
        assert!(rules.allows("http://localhost:3014"));
        for origin in [
            "http://app.example.com",
            "https://app.example.com:444",
            "https://app.example.com.evil.example",
            "http://localhost:3015",
            "null",
        ] {
            assert!(!rules.allows(origin), "{origin}");
        }
        assert_eq!(
            check(&rules, &[("host", "anything"), ("origin", "http://localhost:3014")]),
            Ok(())
        );
        assert_eq!(check(&rules, &[("host", "anything")]), Ok(()));
    }

    #[test]
    fn a_header_that_comes_twice_is_refused() {
        let rules = OriginRules::loopback();
        let origins = [
            ("host", "localhost"),
            ("origin", "http://localhost"),
            ("origin", "https://evil.example"),
        ];

        assert_eq!(check(&rules, &origins), Err(OriginError::Malformed));
    }

    #[test]
    fn entries_that_are_no_origins_are_refused_when_the_list_is_made() {
        for entry in ["app.example.com", "https://", "https://a.example/path", "https://a b", "*"] {
            let error = OriginRules::list([entry]).unwrap_err();
            assert_eq!(error.origin, entry);
        }
        assert!(OriginRules::any().allows("null"));
    }
}

//! The header `Sec-WebSocket-Extensions`, by the grammar of RFC 6455, section 9.1.

use std::str::Chars;

/// One extension as a client offers it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Extension {
    pub(crate) name: String,
    pub(crate) parameters: Vec<Parameter>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
}

/// Reads one header value: the offers in it, the one that the client prefers first. `None` if it is
/// against the grammar, for which the handshake must be refused.
pub(crate) fn parse(value: &str) -> Option<Vec<Extension>> {
    let mut rest = Cursor { chars: value.chars() };
    let mut extensions = Vec::new();
    loop {
        // A list may have empty elements, which count for nothing.
        while rest.takes(',') {}
        if rest.is_at_end() {
            break;
        }
        let name = rest.token()?;
        let mut parameters = Vec::new();
        while rest.takes(';') {
            let name = rest.token()?;
            let value = if rest.takes('=') { Some(rest.value()?) } else { None };
            parameters.push(Parameter { name, value });
        }
        extensions.push(Extension { name, parameters });
        if !rest.is_at_end() && !rest.takes(',') {
            return None;
        }
    }
    if extensions.is_empty() { None } else { Some(extensions) }
}

/// RFC 9110, section 5.6.2.
pub(crate) const fn is_token_char(char: char) -> bool {
    matches!(
        char,
        '!' | '#' | '$' | '%' | '&' | '\'' | '*' | '+' | '-' | '.' | '^' | '_' | '`' | '|' | '~'
    ) || char.is_ascii_alphanumeric()
}

/// What is left to read. White space before each part is passed over.
struct Cursor<'a> {
    chars: Chars<'a>,
}

impl Cursor<'_> {
    fn peek(&mut self) -> Option<char> {
        let trimmed = self.chars.as_str().trim_start_matches([' ', '\t']);
        self.chars = trimmed.chars();
        trimmed.chars().next()
    }

    fn is_at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    /// Takes this sign, if it is the next one.
    fn takes(&mut self, sign: char) -> bool {
        let is_next = self.peek() == Some(sign);
        if is_next {
            self.chars.next();
        }
        is_next
    }

    fn token(&mut self) -> Option<String> {
        self.peek()?;
        let rest = self.chars.as_str();
        let end = rest.find(|char| !is_token_char(char)).unwrap_or(rest.len());
        let (token, rest) = rest.split_at(end);
        self.chars = rest.chars();
        (!token.is_empty()).then(|| token.to_owned())
    }

    /// A token, or a quoted string that stands for one.
    fn value(&mut self) -> Option<String> {
        if !self.takes('"') {
            return self.token();
        }
        let mut value = String::new();
        loop {
            let char = match self.chars.next()? {
                '"' => break,
                '\\' => self.chars.next()?,
                char => char,
            };
            if !is_token_char(char) {
                return None;
            }
            value.push(char);
        }
        (!value.is_empty()).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes what was read in one form, without white space and quotes.
    fn plain(value: &str) -> Option<String> {
        let write = |extension: Extension| {
            let parameters = extension.parameters.into_iter().map(|parameter| {
                let value = parameter.value.map(|value| format!("={value}")).unwrap_or_default();
                format!(";{}{value}", parameter.name)
            });
            extension.name + &parameters.collect::<String>()
        };
        Some(parse(value)?.into_iter().map(write).collect::<Vec<_>>().join(","))
    }

    #[test]
    fn offers_are_read_in_order_with_their_parameters() {
        for (value, expected) in [
            ("permessage-deflate", "permessage-deflate"),
            ("a; b; c=1 , d;e=\"f\\g\"", "a;b;c=1,d;e=fg"),
            ("\ta ; b = 1,, ,c ,", "a;b=1,c"),
        ] {
            assert_eq!(plain(value).as_deref(), Some(expected), "{value}");
        }
    }

    #[test]
    fn what_is_against_the_grammar_is_refused() {
        for value in [
            "",
            " , ",
            "a b",
            "a;",
            "a;;b",
            "a=1",
            ";a",
            "a;b=",
            "a;b=\"",
            "a;b=\"\"",
            "a;b=\"c d\"",
            "a;b=\"c",
            "a;b=\"c\\",
            "a;b=\"c\"d",
            "a;b=c=d",
            "a/b",
            "ä",
            "a;b=\"ä\"",
        ] {
            assert_eq!(parse(value), None, "{value:?}");
        }
    }
}

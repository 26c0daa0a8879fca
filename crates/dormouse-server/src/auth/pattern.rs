//! Patterns of objects in tokens: `note/*`, `channel/room-*`, `*`.

/// Which objects a token is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    /// `*`
    All,
    /// `kind/id`
    One { kind: String, id: String },
    /// `kind/begin*`, and with an empty beginning all of a kind.
    Prefix { kind: String, prefix: String },
}

impl Pattern {
    /// Reads a pattern. `None` if it is none.
    pub(super) fn parse(text: &str) -> Option<Pattern> {
        if text == "*" {
            return Some(Pattern::All);
        }
        let (kind, id) = text.split_once('/')?;
        let stem = id.strip_suffix('*');
        let literal = stem.unwrap_or(id);
        if kind.is_empty() || id.is_empty() || kind.contains('*') || literal.contains('*') {
            return None;
        }
        let (kind, literal) = (kind.to_owned(), literal.to_owned());
        Some(match stem {
            Some(_) => Pattern::Prefix { kind, prefix: literal },
            None => Pattern::One { kind, id: literal },
        })
    }

    pub(super) fn matches(&self, kind: &str, id: &str) -> bool {
        match self {
            Pattern::All => true,
            Pattern::One { kind: own, id: only } => own == kind && only == id,
            Pattern::Prefix { kind: own, prefix } => own == kind && id.starts_with(prefix.as_str()),
        }
    }

    pub(super) fn matches_all_of(&self, kind: &str) -> bool {
        match self {
            Pattern::All => true,
            Pattern::One { .. } => false,
            Pattern::Prefix { kind: own, prefix } => own == kind && prefix.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_the_rest_of_an_id() {
        for (pattern, kind, id, matches, matches_all) in [
            ("*", "note", "a", true, true),
            ("note/*", "note", "a", true, true),
            ("note/*", "notes", "a", false, false),
            ("note/a", "note", "a", true, false),
            ("note/a", "note", "ab", false, false),
            ("note/a", "counter", "a", false, false),
            ("note/a*", "note", "ab", true, false),
            ("note/a*", "note", "ba", false, false),
            ("note/a/b", "note", "a/b", true, false),
            ("note/a/*", "note", "a/b", true, false),
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            assert_eq!(parsed.matches(kind, id), matches, "{pattern} {kind}/{id}");
            assert_eq!(parsed.matches_all_of(kind), matches_all, "{pattern} {kind}");
        }
    }

    #[test]
    fn a_star_stands_at_the_end_of_an_id_and_nowhere_else() {
        for text in ["", "note", "/", "note/", "/a", "*/a", "n*/a", "**", "note/**", "note/a*b"] {
            assert_eq!(Pattern::parse(text), None, "{text:?}");
        }
    }
}

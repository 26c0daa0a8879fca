//! How many items one answer of a list may have.

use schemars::JsonSchema;
use serde::Deserialize;

/// Most items in one answer.
const LIMIT_MAX: u32 = 200;

/// Items in one answer when the caller does not say.
const LIMIT_DEFAULT: u32 = 50;

/// The input `limit` of a list: 1 to 200, 50 if left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "u32")]
#[schemars(with = "u32", inline, extend("minimum" = 1, "maximum" = LIMIT_MAX))]
pub struct PageLimit(u32);

/// One page, cut from what was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut<T> {
    /// At most the limit.
    pub items: Vec<T>,
    /// Whether there are more.
    pub has_next: bool,
}

impl PageLimit {
    /// How many items to read: one more than asked for, which tells whether there is a next page.
    pub const fn read(self) -> u32 {
        self.0 + 1
    }

    /// Cuts what [`read`](Self::read) gave to the page.
    pub fn cut<T>(self, mut items: Vec<T>) -> Cut<T> {
        let limit = usize::try_from(self.0).unwrap_or(usize::MAX);
        let has_next = items.len() > limit;
        items.truncate(limit);
        Cut { items, has_next }
    }
}

impl Default for PageLimit {
    fn default() -> PageLimit {
        PageLimit(LIMIT_DEFAULT)
    }
}

impl TryFrom<u32> for PageLimit {
    type Error = String;

    fn try_from(limit: u32) -> Result<PageLimit, String> {
        if (1..=LIMIT_MAX).contains(&limit) {
            Ok(PageLimit(limit))
        } else {
            Err(format!("must be 1 to {LIMIT_MAX}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_knows_whether_there_is_another() {
        let limit = PageLimit::try_from(2).unwrap();

        assert_eq!(limit.read(), 3);
        assert_eq!(limit.cut(vec![1, 2, 3]), Cut { items: vec![1, 2], has_next: true });
        assert_eq!(limit.cut(vec![1, 2]), Cut { items: vec![1, 2], has_next: false });
        assert!(PageLimit::try_from(0).is_err() && PageLimit::try_from(201).is_err());
    }
}

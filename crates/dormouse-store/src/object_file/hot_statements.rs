//! Which statements the objects of a kind use, so that they can be prepared ahead.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

/// Different statements that are counted; others are not until some of these are rarely used.
const COUNTED_MAX: usize = 64;

/// Longer ones are not counted, in bytes.
const STATEMENT_BYTES_MAX: usize = 4 * 1024;

/// Fewer objects say nothing about the next one.
const OBJECTS_MIN: u32 = 4;

/// After so many objects, what was counted so far counts half.
const OBJECTS_COUNTED: u32 = 64;

/// What objects of one kind have used before they fell asleep.
#[derive(Debug, Default)]
pub(super) struct HotStatements {
    objects: u32,
    /// How many of the objects have used each.
    uses: HashMap<Arc<str>, u32>,
}

impl HotStatements {
    /// Counts what another object has used, each statement once.
    pub(super) fn count(&mut self, statements: &[String]) {
        if self.objects >= OBJECTS_COUNTED {
            self.objects /= 2;
            self.uses.retain(|_, uses| {
                *uses /= 2;
                *uses > 0
            });
        }
        self.objects += 1;
        for sql in statements {
            if let Some(uses) = self.uses.get_mut(sql.as_str()) {
                *uses += 1;
            } else if self.uses.len() < COUNTED_MAX && sql.len() <= STATEMENT_BYTES_MAX {
                self.uses.insert(Arc::from(sql.as_str()), 1);
            }
        }
    }

    /// What half of the objects have used, or more; at most so many, those first that were used most.
    pub(super) fn hot(&self, max: usize) -> Vec<Arc<str>> {
        if self.objects < OBJECTS_MIN {
            return Vec::new();
        }
        let is_hot = |uses: u32| uses.saturating_mul(2) >= self.objects;
        let mut hot: Vec<_> = self.uses.iter().filter(|(_, uses)| is_hot(**uses)).collect();
        hot.sort_unstable_by_key(|&(sql, uses)| (Reverse(uses), sql));
        hot.into_iter().take(max).map(|(sql, _)| Arc::clone(sql)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hot_after(objects: &[&[&str]], max: usize) -> Vec<String> {
        let mut statements = HotStatements::default();
        for object in objects {
            statements.count(&object.iter().map(|sql| (*sql).to_owned()).collect::<Vec<_>>());
        }
        statements.hot(max).iter().map(|sql| (**sql).to_owned()).collect()
    }

    #[test]
    fn what_half_of_the_objects_use_is_hot_the_most_used_first() {
        let objects: [&[&str]; 4] = [&["a", "b"], &["b"], &["b", "c"], &["a"]];

        assert_eq!(hot_after(&objects, 9), ["b", "a"]);
        assert_eq!(hot_after(&objects, 1), ["b"]);
    }

    #[test]
    fn a_few_objects_say_nothing() {
        assert_eq!(hot_after(&[&["a"], &["a"], &["a"]], 9), [""; 0]);
    }

    #[test]
    fn what_is_no_longer_used_cools_down_and_makes_room() {
        let once: Vec<String> = (0..COUNTED_MAX).map(|n| format!("SELECT {n}")).collect();
        let mut statements = HotStatements::default();
        statements.count(&once);
        for _ in 0..2 * OBJECTS_COUNTED {
            statements.count(&["new".to_owned()]);
        }

        assert_eq!(statements.hot(9), ["new".into()]);
        assert_eq!(statements.uses.len(), 1);
    }

    #[test]
    fn a_statement_of_any_length_is_not_kept() {
        let long = "x".repeat(STATEMENT_BYTES_MAX + 1);

        assert_eq!(hot_after(&[&[&long], &[&long], &[&long], &[&long]], 9), [""; 0]);
    }
}

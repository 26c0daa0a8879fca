//! Which statements the objects of a kind use, so that they can be prepared ahead.

use std::collections::HashMap;
use std::sync::Arc;

/// Different statements that are counted; others are not until some of these are rarely used.
const COUNTED_MAX: usize = 64;

/// Longer ones are not counted, in bytes.
const STATEMENT_BYTES_MAX: usize = 4 * 1024;

/// After so many objects, what was counted so far counts half.
const OBJECTS_COUNTED: u32 = 64;

/// What objects of one kind had prepared when they fell asleep.
#[derive(Debug, Default)]
pub(super) struct HotStatements {
    objects: u32,
    /// How many of the objects had each.
    uses: HashMap<Arc<str>, u32>,
}

impl HotStatements {
    /// Counts what another object had prepared.
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

    /// What half of the objects had prepared, or more.
    pub(super) fn hot(&self) -> Vec<Arc<str>> {
        let is_hot = |uses: u32| uses.saturating_mul(2) >= self.objects;
        self.uses
            .iter()
            .filter(|(_, uses)| is_hot(**uses))
            .map(|(sql, _)| Arc::clone(sql))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hot_after(objects: &[&[&str]]) -> Vec<String> {
        let mut statements = HotStatements::default();
        for object in objects {
            statements.count(&object.iter().map(|sql| (*sql).to_owned()).collect::<Vec<_>>());
        }
        let mut hot: Vec<String> = statements.hot().iter().map(|sql| (**sql).to_owned()).collect();
        hot.sort();
        hot
    }

    #[test]
    fn what_half_of_the_objects_use_is_hot() {
        assert_eq!(hot_after(&[]), [""; 0]);
        assert_eq!(hot_after(&[&["a", "b"], &["a"], &["a", "c"], &["b"]]), ["a", "b"]);
    }

    #[test]
    fn what_is_no_longer_used_cools_down_and_makes_room() {
        let once: Vec<String> = (0..COUNTED_MAX).map(|n| format!("SELECT {n}")).collect();
        let mut statements = HotStatements::default();
        statements.count(&once);
        for _ in 0..2 * OBJECTS_COUNTED {
            statements.count(&["new".to_owned()]);
        }

        assert_eq!(statements.hot(), ["new".into()]);
        assert_eq!(statements.uses.len(), 1);
    }

    #[test]
    fn a_statement_of_any_length_is_not_kept() {
        let long = "x".repeat(STATEMENT_BYTES_MAX + 1);

        assert_eq!(hot_after(&[&[&long]]), [""; 0]);
    }
}

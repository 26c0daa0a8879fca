//! Code of kinds never takes down more than its own handler.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::Error;

/// Runs code of a kind. A panic in it is an error of the kind; what it may have left half done, the caller
/// throws away.
pub(crate) fn contained<T>(what: &str, run: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        Err(Error::internal(format!("{what} panicked: {}", panic_message(&*panic))))
    })
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_that_says_where() {
        let failed: Result<(), Error> = contained("a relay", || panic!("on demand"));

        let err = failed.unwrap_err();
        assert!(err.is_fault());
        let source = std::error::Error::source(&err).unwrap().to_string();
        assert_eq!(source, "a relay panicked: on demand");
    }
}

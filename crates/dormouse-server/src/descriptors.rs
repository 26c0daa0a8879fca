//! The budget of open files: sockets and resident objects share what the process may open.

use crate::settings::{Settings, SettingsError};

/// Kept for listeners, the journal, the catalog, logs and connections that are not sockets.
const RESERVED: u64 = 256;

/// A resident object has its database open. Its WAL is no file.
const PER_OBJECT: u64 = 1;

/// Share of what is free that sockets get when nothing is set: 3 of 4.
const SOCKETS_SHARE: (u64, u64) = (3, 4);

/// How many sockets and resident objects fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    pub(crate) sockets_max: usize,
    pub(crate) objects_resident_max: usize,
}

/// Raises the limit as far as the system allows, and divides it.
///
/// # Errors
///
/// Settings that do not fit, with the arithmetic.
pub(crate) fn budget(settings: &Settings) -> Result<Budget, SettingsError> {
    divide(raise_limit(), settings.sockets_max, settings.objects_resident_max)
}

fn divide(
    limit: u64,
    sockets: Option<usize>,
    objects: Option<usize>,
) -> Result<Budget, SettingsError> {
    let free = limit.saturating_sub(RESERVED);
    let (sockets, objects) = (sockets.map(to_u64), objects.map(to_u64));
    let sockets_max = sockets.unwrap_or_else(|| match objects {
        Some(objects) => free.saturating_sub(objects.saturating_mul(PER_OBJECT)),
        None => free * SOCKETS_SHARE.0 / SOCKETS_SHARE.1,
    });
    let objects_max = objects.unwrap_or(free.saturating_sub(sockets_max) / PER_OBJECT);
    let wanted = objects_max.saturating_mul(PER_OBJECT).saturating_add(sockets_max);
    if wanted > free || sockets_max == 0 || objects_max == 0 {
        return Err(SettingsError::Descriptors {
            limit,
            reserved: RESERVED,
            sockets: sockets_max,
            objects: objects_max,
        });
    }
    Ok(Budget { sockets_max: to_usize(sockets_max), objects_resident_max: to_usize(objects_max) })
}

/// Raises the soft limit of open files to the hard one; the limit that holds then.
fn raise_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls read or write one `rlimit` that outlives them.
    #[expect(unsafe_code, reason = "std has no access to RLIMIT_NOFILE")]
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return 1024;
        }
        let raised = libc::rlimit { rlim_cur: limit.rlim_max, rlim_max: limit.rlim_max };
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) == 0 {
            limit = raised;
        }
    }
    limit.rlim_cur
}

fn to_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

fn to_usize(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_takes_what_is_left() {
        let both = divide(20_256, None, None).unwrap();
        let sockets = divide(20_256, Some(18_000), None).unwrap();
        let objects = divide(20_256, None, Some(500)).unwrap();

        assert_eq!(both, Budget { sockets_max: 15_000, objects_resident_max: 5_000 });
        assert_eq!(sockets, Budget { sockets_max: 18_000, objects_resident_max: 2_000 });
        assert_eq!(objects, Budget { sockets_max: 19_500, objects_resident_max: 500 });
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_arithmetic() {
        let err = divide(1_024, Some(1_000), Some(100)).unwrap_err();

        assert!(
            err.to_string().contains("may open 1024 files; 256 are reserved, 1000 sockets and 100")
        );
        assert!(divide(256, None, None).is_err());
    }
}

//! The time that tests have to notice a mutant.

use std::time::Duration;

/// How long tests may take with a mutant, if they take so long without: a mutant that hangs is not
/// waited for, a busy machine is.
pub(super) fn test_limit(without_mutant: Duration) -> Duration {
    (without_mutant * 5).max(Duration::from_secs(60))
}

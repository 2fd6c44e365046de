//! Checks of the privileges that the rest of the crate needs.

use std::fs;

use crate::Result;
use crate::error::{Context, Error};

/// The capabilities for loading and attaching network BPF programs, and for making namespaces.
const NEEDED: [(u32, &str); 4] = [
    (12, "CAP_NET_ADMIN"),
    (21, "CAP_SYS_ADMIN"),
    (38, "CAP_PERFMON"),
    (39, "CAP_BPF"),
];

/// Whether the effective user is root. Being root in a container may still not be enough: see
/// [`missing_capabilities`].
pub fn is_root() -> bool {
    // SAFETY: geteuid has no arguments and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// The names of the capabilities this crate needs and this thread does not have in effect.
///
/// # Errors
/// `/proc` is not mounted or is not what Linux documents.
pub fn missing_capabilities() -> Result<Vec<&'static str>> {
    const PATH: &str = "/proc/thread-self/status";
    let status = fs::read_to_string(PATH).context(|| {
        format!("cannot read {PATH} to learn the capabilities of this thread; mount /proc")
    })?;
    let effective = parse_effective(&status).ok_or_else(|| {
        Error::new(format!(
            "{PATH} has no line \"CapEff:\" with a hexadecimal number"
        ))
    })?;
    Ok(NEEDED
        .iter()
        .filter(|(bit, _)| effective & (1 << bit) == 0)
        .map(|&(_, name)| name)
        .collect())
}

/// Fails unless this thread has every capability this crate needs.
///
/// # Errors
/// A capability is missing: the message says how to get it.
///
/// ```no_run
/// pktmeta_testkit::root::require()?;
/// # Ok::<(), pktmeta_testkit::Error>(())
/// ```
pub fn require() -> Result<()> {
    let missing = missing_capabilities()?;
    if missing.is_empty() {
        return Ok(());
    }
    let (who, remedy) = match is_root() {
        true => (
            "root here lacks",
            "run it in a virtual machine or in a privileged container",
        ),
        false => ("this process lacks", "run it as root"),
    };
    Err(Error::new(format!(
        "network namespaces, cgroups and BPF programs need {needed}; {who} {}; {remedy}",
        missing.join(", "),
        needed = NEEDED.map(|(_, name)| name).join(", "),
    )))
}

fn parse_effective(status: &str) -> Option<u64> {
    let hex = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(hex.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effective_capabilities_are_parsed() {
        let status = "Name:\tcat\nCapPrm:\t0000000000000000\nCapEff:\t000001ffffffffff\n";
        assert_eq!(parse_effective(status), Some(0x1ff_ffff_ffff));
        assert_eq!(parse_effective("CapEff:\tx\n"), None);
        assert_eq!(parse_effective(""), None);
    }
}

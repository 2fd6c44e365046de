//! Checks of this process' capabilities, and of the kernel's type information.

use crate::error::{Context, Error, ErrorKind};
use std::fs;

/// The capabilities that attaching takes, by bit.
const CAPABILITIES: [(u32, &str); 3] =
    [(12, "CAP_NET_ADMIN"), (38, "CAP_PERFMON"), (39, "CAP_BPF")];
/// It includes CAP_PERFMON and CAP_BPF.
const CAP_SYS_ADMIN: u32 = 21;

/// Checks that this process may load and attach BPF programs.
///
/// # Errors
/// It names the capabilities that are missing.
pub fn check_capabilities() -> Result<(), Error> {
    let status =
        fs::read_to_string("/proc/self/status").context(|| "read own capabilities".into())?;
    let effective = effective_capabilities(&status);
    let has = |bit: u32| effective >> bit & 1 == 1;
    let missing: Vec<_> = CAPABILITIES
        .iter()
        .filter(|(bit, _)| !has(*bit) && (*bit == 12 || !has(CAP_SYS_ADMIN)))
        .map(|(_, name)| *name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::NotPermitted,
        "load BPF programs",
        format!("this process lacks {}", missing.join(", ")),
    )
    .with_remedy("run it as root, or give it these capabilities"))
}

/// Checks that the kernel describes its types, from which programs learn the offsets of members.
///
/// # Errors
/// It does not.
pub fn check_btf() -> Result<(), Error> {
    let path = "/sys/kernel/btf/vmlinux";
    fs::metadata(path).map(drop).map_err(|error| {
        Error::new(
            ErrorKind::Unsupported,
            "find the kernel's BTF",
            format!("{path}: {error}"),
        )
        .with_remedy("boot a kernel built with CONFIG_DEBUG_INFO_BTF=y, as the distributions' are")
    })
}

fn effective_capabilities(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effective_capabilities_read_from_the_status_file() {
        let status = "Name:\tx\nCapPrm:\t0\nCapEff:\t000001ffffffffff\n";
        assert_eq!(effective_capabilities(status), 0x1ff_ffff_ffff);
        assert_eq!(effective_capabilities(""), 0);
    }
}

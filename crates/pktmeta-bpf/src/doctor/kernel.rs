//! Checks of the kernel, by its types and its socket options.

use super::check::{ALL, Check, Finding};
use libbpf_rs::btf::{
    Btf,
    types::{Func, Struct},
};
use std::{
    fs,
    os::fd::{AsFd, AsRawFd},
};

/// A check that fails if the kernel is older than any that this version can use.
pub(super) fn old_kernel() -> Option<Check> {
    let btf = Btf::from_vmlinux().ok()?; // another check reports that it is missing
    let missing = missing_in(|name| {
        btf.type_by_name::<Func<'_>>(name).is_some()
            || btf.type_by_name::<Struct<'_>>(name).is_some()
    })?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Some(Check {
        name: "kernel".into(),
        finding: Finding::Missing {
            needed: true,
            why: format!("Linux {} has no {missing}", release.trim_end()),
            consequence: ALL.into(),
            remedy: "boot Linux 6.6 or later; 6.12 is the oldest that pktmeta is tested on".into(),
        },
    })
}

/// The function or structure that a kernel lacks, given those that it has. Programs of cgroups read
/// packets with the first; TC takes links with the second.
fn missing_in(has: impl Fn(&str) -> bool) -> Option<&'static str> {
    let needed = [
        ("bpf_cast_to_kern_ctx", "bpf_cast_to_kern_ctx (of 6.2)"),
        ("tcx_link", "TCX (of 6.6)"),
    ];
    let missing = needed.into_iter().find(|(name, _)| !has(name));
    missing.map(|(_, what)| what)
}

pub(super) fn dynptr_check() -> Check {
    let name = "bpf_dynptr_from_skb_meta";
    let found = Btf::from_vmlinux().is_ok_and(|btf| btf.type_by_name::<Func<'_>>(name).is_some());
    let finding = if found {
        Finding::Present("TC writes through it".into())
    } else {
        Finding::Missing {
            needed: false,
            why: format!("the kernel has no {name}"),
            consequence: "while tcpdump runs, TC loses the records it should add to".into(),
            remedy: "boot Linux 6.18 or later".into(),
        }
    };
    Check {
        name: name.into(),
        finding,
    }
}

pub(super) fn ticket_check(name: &str, option: i32, consequence: &str, remedy: &str) -> Check {
    let tried = std::net::UdpSocket::bind(("127.0.0.1", 0)).and_then(|socket| {
        let on = 1i32;
        // SAFETY: the option's value is an int, of the size that is passed.
        let result = unsafe {
            libc::setsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const on).cast(),
                size_of_val(&on) as u32,
            )
        };
        if result == 0 {
            Ok(())
        } else {
            Err(std::io::Error::last_os_error())
        }
    });
    let finding = match tried {
        Ok(()) => Finding::Present("available".into()),
        Err(error) => Finding::Missing {
            needed: false,
            why: format!("setsockopt: {error}"),
            consequence: consequence.into(),
            remedy: remedy.into(),
        },
    };
    Check {
        name: name.into(),
        finding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_kernel_is_told_by_what_it_lacks() {
        assert_eq!(missing_in(|_| true), None);
        let found = missing_in(|name| name != "tcx_link").unwrap();
        assert!(found.contains("6.6"), "{found}");
        let found = missing_in(|_| false).unwrap();
        assert!(found.contains("6.2"), "{found}");
        assert!(old_kernel().is_none(), "this one has all");
    }
}

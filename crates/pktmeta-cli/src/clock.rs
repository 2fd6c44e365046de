//! The clock of the kernel's times of packets.

use std::time::Duration;

/// The time of `CLOCK_MONOTONIC`, the clock of events and of `rx_timestamp`.
pub(crate) fn monotonic() -> Duration {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: now is a timespec to be written; every kernel has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32) // neither is negative
}

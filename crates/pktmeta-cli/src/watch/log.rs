//! A line for each connection or datagram.

use crate::decode;
use pktmeta_bpf::{
    HostRegistry,
    watch::{Event, Watch, What},
};
use pktmeta_core::schema::Dictionary;
use serde_json::json;
use std::{
    fmt,
    io::{self, BufWriter, Write},
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// What is logged, and how.
#[derive(clap::Args)]
pub(super) struct LogOptions {
    /// Log each datagram too
    #[arg(long)]
    pub(super) datagrams: bool,
    /// Log JSON, an object a line
    #[arg(long)]
    json: bool,
}

/// The log.
pub(super) struct Log {
    /// `None` once that has failed.
    to: Option<BufWriter<Box<dyn Write>>>,
    json: bool,
    dictionary: Dictionary,
}

impl Log {
    /// A log with the names that fields have on this host.
    pub(super) fn new(
        to: Box<dyn Write>,
        options: &LogOptions,
        bpffs: &Path,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            to: Some(BufWriter::new(to)),
            json: options.json,
            dictionary: Dictionary::new(HostRegistry::new(bpffs).read()?, []),
        })
    }

    /// True until it could not be written, or its reader has gone.
    pub(super) fn is_open(&self) -> bool {
        self.to.is_some()
    }

    /// Logs what was not yet, and says how much is missing.
    pub(super) fn end(&mut self, watch: Watch) -> anyhow::Result<()> {
        let (last, lost) = watch.end()?;
        self.write(last);
        if lost > 0 {
            eprintln!("pktmeta: {lost} more came faster than they were logged");
        }
        Ok(())
    }

    /// Logs events. If that fails it says so and logs no more: what is watched goes on.
    pub(super) fn write(&mut self, events: impl IntoIterator<Item = Event>) {
        let boot = boot_time();
        for event in events {
            let line = self.line(boot, &event);
            self.try_to(|to| writeln!(to, "{line}"));
        }
        self.try_to(|to| to.flush());
    }

    fn try_to(&mut self, write: impl FnOnce(&mut BufWriter<Box<dyn Write>>) -> io::Result<()>) {
        if let Some(to) = &mut self.to
            && let Err(error) = write(to)
        {
            if error.kind() != io::ErrorKind::BrokenPipe {
                eprintln!("pktmeta: no more is logged: {error}");
            }
            // What it holds could not be written either.
            self.to.take().map(BufWriter::into_parts);
        }
    }

    /// `boot` is when the clock of events was zero.
    fn line(&self, boot: Duration, event: &Event) -> String {
        let time = Utc(boot + event.time);
        let (protocol, what) = match event.what {
            What::Accepted => ("tcp", "accepted"),
            What::Connected => ("tcp", "connected"),
            What::Datagram => ("udp", "datagram"),
        };
        let Event {
            local,
            peer,
            cookie,
            record,
            ..
        } = event;
        if self.json {
            let record = decode::object(&self.dictionary, record.as_ref());
            return json!({
                "time": time.to_string(),
                "protocol": protocol,
                "what": what,
                "local": local.to_string(),
                "peer": peer.to_string(),
                "cookie": cookie,
                "record": record,
            })
            .to_string();
        }
        let fields = match record {
            Some(record) => decode::line(&self.dictionary, record),
            None => "no record".into(),
        };
        format!("{time} {protocol} {what} {local} {peer} {fields}")
    }
}

/// The time of day at which `CLOCK_MONOTONIC` was zero, if nobody had set the clock.
fn boot_time() -> Duration {
    let mut since = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: since is a timespec to be written; every kernel has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut since) };
    let since = Duration::new(since.tv_sec as u64, since.tv_nsec as u32);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().saturating_sub(since)
}

/// A time after 1970, shown as RFC 3339 has it, in microseconds.
struct Utc(Duration);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.0.as_secs() / 86400, self.0.as_secs() % 86400);
        // https://howardhinnant.github.io/date_algorithms.html#civil_from_days, after 1970 only:
        // years that begin in March have their leap day last.
        let days = days + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1460 + day / 36524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (year, month) = match month {
            0..10 => (year + era * 400, month + 3),
            _ => (year + era * 400 + 1, month - 9),
        };
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let micros = self.0.subsec_micros();
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_as_rfc_3339_has_them() {
        for (second, shown) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (951_868_799, "2000-02-29T23:59:59.000000Z"),
            (1_767_225_599, "2025-12-31T23:59:59.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
        ] {
            assert_eq!(Utc(Duration::from_secs(second)).to_string(), shown);
        }
        let time = Utc(Duration::new(1_764_081_189, 123_456_789));
        assert_eq!(time.to_string(), "2025-11-25T14:33:09.123456Z");
    }
}

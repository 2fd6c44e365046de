//! A line for each connection or datagram.

use crate::{
    clock::monotonic,
    output::{Unwritten, json_line, record_fields_json, record_line},
};
use pktmeta_bpf::watch::{Event, EventKind};
use pktmeta_core::{printable, schema::Dictionary};
use serde_json::json;
use std::{
    fmt,
    io::{self, BufWriter, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The events to log, and their form.
#[derive(clap::Args)]
pub(crate) struct LogOptions {
    /// Log each datagram too
    #[arg(long)]
    pub(crate) datagrams: bool,
    /// Log JSON, an object a line; "unknown" is true of what came while another datapath took over
    #[arg(long)]
    json: bool,
}

/// The log.
pub(crate) struct Log {
    /// `None` once that has failed.
    to: Option<BufWriter<Box<dyn Write>>>,
    failure: Option<Unwritten>,
    json: bool,
}

impl Log {
    pub(crate) fn new(to: Box<dyn Write>, options: &LogOptions) -> Self {
        Self {
            to: Some(BufWriter::new(to)),
            failure: None,
            json: options.json,
        }
    }

    /// True until it could not be written, or its reader has gone.
    pub(crate) fn is_open(&self) -> bool {
        self.to.is_some()
    }

    /// Why it could not be written, said once.
    pub(crate) fn failure(&mut self) -> Option<Unwritten> {
        self.failure.take()
    }

    /// Logs events, whose records have the names of `dictionary`. If that fails it logs no more:
    /// what is watched goes on.
    pub(crate) fn write(
        &mut self,
        dictionary: &Dictionary,
        events: impl IntoIterator<Item = Event>,
        absence: Absence,
    ) {
        let boot = boot_time();
        for event in events {
            let line = self.line(dictionary, boot, &event, absence);
            self.try_to(|to| writeln!(to, "{}", printable::text(&line)));
        }
        self.try_to(|to| to.flush());
    }

    fn try_to(&mut self, write: impl FnOnce(&mut BufWriter<Box<dyn Write>>) -> io::Result<()>) {
        if let Some(to) = &mut self.to
            && let Err(error) = write(to)
        {
            self.failure = Some(Unwritten::new("the log", error));
            // What it holds could not be written either.
            self.to.take().map(BufWriter::into_parts);
        }
    }

    /// `boot` is when the clock of events was zero.
    fn line(
        &self,
        dictionary: &Dictionary,
        boot: Duration,
        event: &Event,
        absence: Absence,
    ) -> String {
        let time = Utc(boot + event.time);
        let (protocol, what) = match event.kind {
            EventKind::Accepted => ("tcp", "accepted"),
            EventKind::Connected => ("tcp", "connected"),
            EventKind::Datagram => ("udp", "datagram"),
        };
        let Event {
            local,
            peer,
            cookie,
            record,
            ..
        } = event;
        if self.json {
            let unknown = record.is_none() && absence == Absence::Unknown;
            let record = record_fields_json(dictionary, record.as_ref());
            let mut json = json!({
                "time": time.to_string(),
                "protocol": protocol,
                "what": what,
                "local": local.to_string(),
                "peer": peer.to_string(),
                "cookie": cookie,
                "record": record,
            });
            if unknown {
                json["unknown"] = json!(true);
            }
            return json_line(&json);
        }
        let fields = match (record, absence) {
            (Some(record), _) => record_line(dictionary, record),
            (None, Absence::Known) => "no record".into(),
            (None, Absence::Unknown) => "unknown: another datapath took over".into(),
        };
        format!("{time} {protocol} {what} {local} {peer} {fields}")
    }
}

/// The meaning of an event without a record.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Absence {
    /// The packet had none.
    Known,
    /// It may have had one of a registry that nobody watched for yet.
    Unknown,
}

/// The time of day at which `CLOCK_MONOTONIC` was zero, if nobody had set the clock.
fn boot_time() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().saturating_sub(monotonic())
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

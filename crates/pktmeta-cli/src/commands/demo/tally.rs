//! Counts of right, wrong and missing records.

/// The counts of UDP.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Datagrams {
    pub(super) sent: u64,
    pub(super) delivered: u64,
    /// With a record.
    pub(super) labelled: u64,
    /// With a record that was not theirs.
    pub(super) mismatched: u64,
    /// Whose record was overwritten before it was read.
    pub(super) overrun: u64,
    /// Without a record.
    pub(super) unlabelled: u64,
}

impl Datagrams {
    pub(super) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.delivered += other.delivered;
        self.labelled += other.labelled;
        self.mismatched += other.mismatched;
        self.overrun += other.overrun;
        self.unlabelled += other.unlabelled;
    }

    pub(super) fn counts(&self) -> [(&'static str, u64); 6] {
        [
            ("datagrams", self.sent),
            ("delivered", self.delivered),
            ("labelled", self.labelled),
            ("mismatched", self.mismatched),
            ("overrun", self.overrun),
            ("unlabelled", self.unlabelled),
        ]
    }
}

/// The counts of TCP.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Connections {
    pub(super) opened: u64,
    /// With a record of the SYN and of the latest segment.
    pub(super) labelled: u64,
    /// With a record that was not theirs.
    pub(super) mismatched: u64,
    /// With one record missing, or both.
    pub(super) unlabelled: u64,
}

impl Connections {
    pub(super) fn add(&mut self, other: &Self) {
        self.opened += other.opened;
        self.labelled += other.labelled;
        self.mismatched += other.mismatched;
        self.unlabelled += other.unlabelled;
    }

    pub(super) fn counts(&self) -> [(&'static str, u64); 4] {
        [
            ("connections", self.opened),
            ("connections_labelled", self.labelled),
            ("connections_mismatched", self.mismatched),
            ("connections_unlabelled", self.unlabelled),
        ]
    }
}

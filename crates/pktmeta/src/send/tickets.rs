//! The tickets under which a socket remembers the records of datagrams that it sends.

use crate::carrier::TxTicket;
use pktmeta_core::{Record, abi};
use std::hash::{BuildHasher, RandomState};

const SLOTS: usize = abi::TX_SLOTS as usize;

/// The tickets of one socket.
///
/// A ticket never changes its meaning: a slot that gets another record gets another number. So a
/// datagram that waits below the socket, for a neighbour's address say, loses its record when 32
/// others came since; it never gets one of theirs.
pub(crate) struct TxTickets {
    slots: Vec<Slot>,
    /// The number of uses so far.
    clock: u64,
    /// The instance of the datapath that knows the records.
    instance: u32,
}

struct Slot {
    ticket: TxTicket,
    /// `None` until the datapath knows it.
    record: Option<Record>,
    used: u64,
}

impl TxTickets {
    /// Those of a socket that remembers nothing.
    pub(crate) fn new() -> Self {
        // A random start: if two of these share a socket, neither uses the other's numbers.
        let start = RandomState::new().hash_one(()) as u32 / abi::TX_SLOTS * abi::TX_SLOTS;
        let slots = (start..).take(SLOTS).map(|number| Slot {
            ticket: TxTicket::numbered(number),
            record: None,
            used: 0,
        });
        Self {
            slots: slots.collect(),
            clock: 0,
            instance: 0,
        }
    }

    /// Forgets all records if this is another datapath.
    pub(crate) fn of_instance(&mut self, instance: u32) -> &mut Self {
        if self.instance != instance {
            self.instance = instance;
            for slot in &mut self.slots {
                slot.record = None;
            }
        }
        self
    }

    /// The ticket of a record. If the socket does not remember the record, `tell` must make it do
    /// so, in place of the record that was used the longest ago.
    pub(crate) fn ticket<E>(
        &mut self,
        record: &Record,
        tell: impl FnOnce(TxTicket) -> Result<(), E>,
    ) -> Result<TxTicket, E> {
        self.clock += 1;
        let known = |slot: &&mut Slot| slot.record.as_ref() == Some(record);
        if let Some(slot) = self.slots.iter_mut().find(known) {
            slot.used = self.clock;
            return Ok(slot.ticket);
        }
        let mut oldest = 0;
        for at in 1..SLOTS {
            if self.slots[at].used < self.slots[oldest].used {
                oldest = at;
            }
        }
        let slot = &mut self.slots[oldest];
        let ticket = slot.ticket.next();
        tell(ticket)?;
        *slot = Slot {
            ticket,
            record: Some(*record),
            used: self.clock,
        };
        Ok(ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pktmeta_core::TlvType;
    use std::collections::BTreeMap;

    fn record(value: u32) -> Record {
        let mut record = Record::new();
        let tlv = TlvType::new(1).unwrap();
        record.set_value(tlv, &value).unwrap();
        record
    }

    /// Remembers records as the datapath does.
    #[derive(Default)]
    struct Kernel {
        slots: BTreeMap<u32, (u32, u32)>,
        told: usize,
    }

    impl Kernel {
        fn send(&mut self, tickets: &mut TxTickets, value: u32) -> u32 {
            let ticket = tickets.ticket(&record(value), |ticket| {
                let number = ticket.get();
                assert_eq!(number & abi::TX_TICKET_MASK, abi::TX_TICKET);
                self.told += 1;
                self.slots.insert(number % abi::TX_SLOTS, (number, value));
                Ok::<(), ()>(())
            });
            ticket.unwrap().get()
        }

        fn record(&self, ticket: u32) -> Option<u32> {
            let (number, value) = *self.slots.get(&(ticket % abi::TX_SLOTS))?;
            (number == ticket).then_some(value)
        }
    }

    #[test]
    fn equal_records_are_told_once() {
        let (mut tickets, mut kernel) = (TxTickets::new(), Kernel::default());
        for _ in 0..3 {
            for value in 0..abi::TX_SLOTS {
                let ticket = kernel.send(&mut tickets, value);
                assert_eq!(kernel.record(ticket), Some(value));
            }
        }
        assert_eq!(kernel.told, SLOTS);
    }

    #[test]
    fn a_ticket_never_means_another_record() {
        let (mut tickets, mut kernel) = (TxTickets::new(), Kernel::default());
        let mut sent = Vec::new();
        for value in 0..10 * abi::TX_SLOTS {
            sent.push((kernel.send(&mut tickets, value), value));
            for &(ticket, value) in &sent {
                assert!(kernel.record(ticket).is_none_or(|found| found == value));
            }
        }
        let newest = &sent[sent.len() - SLOTS..];
        for &(ticket, value) in newest {
            assert_eq!(kernel.record(ticket), Some(value), "the newest are kept");
        }
    }

    #[test]
    fn what_was_used_the_longest_ago_goes_first() {
        let (mut tickets, mut kernel) = (TxTickets::new(), Kernel::default());
        for value in 0..1000 {
            kernel.send(&mut tickets, 7777);
            kernel.send(&mut tickets, value);
        }
        assert_eq!(kernel.told, 1001);
    }

    #[test]
    fn another_datapath_is_told_again_and_a_refusal_changes_nothing() {
        let (mut tickets, mut kernel) = (TxTickets::new(), Kernel::default());
        kernel.send(tickets.of_instance(1), 7);
        kernel.send(tickets.of_instance(1), 7);
        assert_eq!(kernel.told, 1);
        kernel.send(tickets.of_instance(2), 7);
        assert_eq!(kernel.told, 2);
        assert!(tickets.ticket(&record(8), |_| Err(())).is_err());
        kernel.send(&mut tickets, 8);
        assert_eq!(kernel.told, 3);
    }

    #[test]
    fn numbers_wrap_within_their_slot() {
        let last = TxTicket::numbered(!abi::TX_TICKET_MASK - 2);
        assert_eq!(last.next().get(), abi::TX_TICKET | 29);
        assert_eq!(last.next().get() % 32, last.get() % 32);
    }
}

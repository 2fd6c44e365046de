//! Random sequences of helpers that change a packet and put it back as it was.

use crate::random::Random;

/// `STEPS` of bpf/paths.h.
pub(crate) const STEPS: usize = 8;
/// `SEQUENCES` of bpf/paths.h: which one a packet goes through follows from its seed and the hop.
pub(crate) const SEQUENCES: usize = 128;

/// `enum operation` of bpf/paths.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Operation {
    None,
    VlanPush,
    VlanPop,
    Room,
    Proto,
    Tail,
    Pull,
    Store,
    Set,
    Head,
}

/// `struct step` of bpf/paths.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Step {
    pub(crate) operation: Operation,
    /// The number of the step, from 1, that this one takes back; else 0.
    pub(crate) undoes: u8,
    pub(crate) by: i16,
    pub(crate) flags: u32,
}

/// `struct sequence` of bpf/paths.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Sequence {
    pub(crate) steps: [Step; STEPS],
}

impl Step {
    const NONE: Self = Self::new(Operation::None, 0);

    const fn new(operation: Operation, by: i16) -> Self {
        let (undoes, flags) = (0, 0);
        Self {
            operation,
            undoes,
            by,
            flags,
        }
    }

    fn to_bytes(self) -> [u8; 8] {
        let mut bytes = [self.operation as u8, self.undoes, 0, 0, 0, 0, 0, 0];
        bytes[2..4].copy_from_slice(&self.by.to_ne_bytes());
        bytes[4..].copy_from_slice(&self.flags.to_ne_bytes());
        bytes
    }
}

impl Sequence {
    pub(crate) const EMPTY: Self = Self {
        steps: [Step::NONE; STEPS],
    };

    /// By `XDP_GROWTH` of bpf/paths.bpf.c, and back.
    pub(crate) const GROW_AS_XDP_DOES: Self = {
        let mut sequence = Self::EMPTY;
        sequence.steps[0] = Step::new(Operation::Room, 64);
        sequence.steps[1] = Step {
            undoes: 1,
            ..Step::new(Operation::Room, -64)
        };
        sequence
    };

    /// Half of all are empty: packets also meet a hop that leaves them alone.
    pub(crate) fn draw(random: &mut Random) -> Self {
        let mut sequence = Self::EMPTY;
        if random.one_in(2) {
            return sequence;
        }
        let mut steps = Vec::new();
        let most = 1 + random.below(STEPS);
        while steps.len() < most {
            extend(&mut steps, most, random);
        }
        if random.one_in(16) {
            let end = Step::new(Operation::Head, 1 + random.below(64) as i16);
            steps.truncate(STEPS - 1);
            steps.push(end);
        }
        sequence.steps[..steps.len()].copy_from_slice(&steps);
        sequence
    }

    pub(crate) fn to_bytes(self) -> Vec<u8> {
        self.steps.into_iter().flat_map(Step::to_bytes).collect()
    }
}

impl std::fmt::Display for Sequence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let steps = self.steps.iter();
        let steps = steps.take_while(|step| step.operation != Operation::None);
        let steps = steps.map(|step| {
            let mode = match (step.operation, step.flags & 1) {
                (Operation::Room, 0) => " behind IP",
                (Operation::Room, _) => " behind MAC",
                _ => "",
            };
            format!("{:?} {}{mode}", step.operation, step.by)
        });
        let steps: Vec<_> = steps.collect();
        f.write_str(if steps.is_empty() { "nothing" } else { "" })?;
        f.write_str(&steps.join(", "))
    }
}

/// Adds a step, or two with others between them of which the second takes the first back.
fn extend(steps: &mut Vec<Step>, most: usize, random: &mut Random) {
    if most - steps.len() < 2 || random.one_in(3) {
        steps.push(whole(random));
        return;
    }
    let (push, pops) = pair(most - steps.len(), random);
    steps.push(push);
    let undoes = steps.len() as u8;
    while steps.len() + pops.len() < most && random.one_in(2) {
        extend(steps, most - pops.len(), random);
    }
    steps.extend(pops.into_iter().map(|pop| Step { undoes, ..pop }));
}

/// A step that needs no other.
fn whole(random: &mut Random) -> Step {
    let (operation, by) = match random.below(5) {
        0 => (Operation::Proto, 0),
        1 => (Operation::Tail, 1 + random.below(4096)),
        2 => (Operation::Pull, 1 + random.below(100)),
        3 => (Operation::Store, random.below(40)),
        _ => (Operation::Set, 0),
    };
    Step::new(operation, by as i16)
}

/// A step, and those that take it back: one, or two that each take back a part.
fn pair(room: usize, random: &mut Random) -> (Step, Vec<Step>) {
    if random.one_in(2) {
        let push = Step::new(Operation::VlanPush, 1 + random.below(4094) as i16);
        return (push, vec![Step::new(Operation::VlanPop, 0)]);
    }
    let flags = random.below(2) as u32; // BPF_ADJ_ROOM_NET, BPF_ADJ_ROOM_MAC
    let adjust = |by| Step {
        flags,
        ..Step::new(Operation::Room, by)
    };
    let by = 1 + random.below(100) as i16;
    let first = match room > 2 && by > 1 && random.one_in(3) {
        true => 1 + random.below(by as usize - 1) as i16,
        false => by,
    };
    let mut pops = vec![adjust(-first)];
    if first < by {
        pops.push(adjust(first - by));
    }
    (adjust(by), pops)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_is_popped_in_equal_parts_and_in_turn() {
        let mut random = Random::new(1);
        for _ in 0..10_000 {
            let sequence = Sequence::draw(&mut random);
            let mut open: Vec<(u8, i16)> = Vec::new();
            for (number, step) in (1..).zip(sequence.steps) {
                match (step.operation, step.undoes) {
                    (Operation::Head, _) => open.clear(), // the packet ends there
                    (Operation::VlanPush, 0) => open.push((number, 1)),
                    (Operation::Room, 0) => open.push((number, step.by)),
                    (Operation::VlanPop | Operation::Room, undoes) => {
                        let (pushed, left) = open.pop().unwrap();
                        assert_eq!(pushed, undoes, "{sequence}");
                        let left = left + if step.by < 0 { step.by } else { -1 };
                        open.extend((left > 0).then_some((pushed, left)));
                    }
                    _ => {}
                }
            }
            assert!(open.is_empty(), "{sequence}");
        }
    }
}

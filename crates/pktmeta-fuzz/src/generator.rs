//! Makes inputs.

/// Makes inputs: some random, most of them seeds that were changed a little, joined and cut.
#[derive(Debug)]
pub struct Generator {
    random: Random,
    seeds: Vec<Vec<u8>>,
}

impl Generator {
    const INPUT_MAX: usize = 1 << 12;

    /// The same seed makes the same inputs.
    #[must_use]
    pub fn new(seed: u64, seeds: Vec<Vec<u8>>) -> Self {
        Self {
            random: Random(seed),
            seeds,
        }
    }

    /// The next one.
    pub fn input(&mut self) -> Vec<u8> {
        let mut input = match self.random.below(4) {
            0 => self.random_bytes(),
            _ => self.seed().to_vec(),
        };
        for _ in 0..self.random.below(6) {
            self.change(&mut input);
        }
        input.truncate(Self::INPUT_MAX);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.random.below(input.len() + 1);
        match self.random.below(8) {
            0 => input.truncate(at),
            1 => input.extend(self.random_bytes()),
            2 => {
                let part = self.random_bytes();
                input.splice(at..at, part);
            }
            3 => {
                let other = self.seed().to_vec();
                let from = self.random.below(other.len() + 1);
                input.splice(at.., other[from..].iter().copied());
            }
            4 => {
                let end = (at + self.random.below(8)).min(input.len());
                input.drain(at..end);
            }
            5 => {
                // A part again.
                let end = (at + self.random.below(16)).min(input.len());
                let part = input[at..end].to_vec();
                input.splice(at..at, part);
            }
            _ => {
                let byte = match self.random.below(3) {
                    0 => INTERESTING[self.random.below(INTERESTING.len())],
                    _ => self.random.next() as u8,
                };
                match (input.get_mut(at), self.random.below(3)) {
                    (Some(place), 0) => *place ^= 1 << (byte & 7),
                    (Some(place), _) => *place = byte,
                    (None, _) => input.push(byte),
                }
            }
        }
    }

    fn seed(&mut self) -> &[u8] {
        match self.seeds.len() {
            0 => &[],
            count => &self.seeds[self.random.below(count)],
        }
    }

    fn random_bytes(&mut self) -> Vec<u8> {
        // Short ones more often than long ones.
        let most = 1 << self.random.below(9);
        let size = self.random.below(most + 1);
        (0..size).map(|_| self.random.next() as u8).collect()
    }
}

/// Ends of ranges, tags, sizes.
const INTERESTING: [u8; 16] = [
    0, 1, 2, 4, 8, 16, 0x3f, 0x40, 0x7f, 0x80, 0xbf, 0xc0, 215, 216, 217, 0xff,
];

/// SplitMix64.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// `end` is not 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

//! The policy of a field.

/// The rules that a field's owner sets, kept with the registered field for the programs that act on
/// them.
///
/// ```
/// # use pktmeta_core::registry::Policy;
/// let mut policy = Policy::default();
/// policy.hot = true;
/// policy.writers.app = true;
/// assert_eq!(Policy::from_bits(policy.bits()), Some(policy));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// On most packets. Records keep a place for it, where programs look first.
    pub hot: bool,
    /// May leave the host in packet bytes.
    pub wire: bool,
    /// Accepted from other hosts.
    pub trusted: bool,
    /// Who may write it.
    pub writers: Writers,
    /// Its value when segments with different values are merged.
    pub gro: GroMerge,
    /// Not passed on to a copy of the packet.
    pub drop_on_clone: bool,
    /// Not passed on into another network namespace.
    pub drop_on_netns: bool,
    /// Registered by its owner, not only for as long as the datapath is up.
    pub kept: bool,
    /// Removed, but no other field gets its number.
    pub retired: bool,
}

impl Policy {
    /// The policy as bits: 0 hot, 1 wire, 2 xdp, 3 tc, 4 app may write, 5 trusted, 6 and 7 GRO, 8
    /// drop on clone, 9 drop on netns, 10 kept, 11 retired.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.hot as u32
            | (self.wire as u32) << 1
            | (self.writers.bits() as u32) << 2
            | (self.trusted as u32) << 5
            | (self.gro as u32) << 6
            | (self.drop_on_clone as u32) << 8
            | (self.drop_on_netns as u32) << 9
            | (self.kept as u32) << 10
            | (self.retired as u32) << 11
    }

    /// Reads [`Policy::bits`]; `None` if a bit is set that this build does not know.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Option<Self> {
        if bits >> 12 != 0 {
            return None;
        }
        Some(Self {
            hot: bits & 1 != 0,
            wire: bits & 1 << 1 != 0,
            writers: Writers {
                xdp: bits & 1 << 2 != 0,
                tc: bits & 1 << 3 != 0,
                app: bits & 1 << 4 != 0,
            },
            trusted: bits & 1 << 5 != 0,
            gro: match bits >> 6 & 3 {
                0 => GroMerge::Block,
                1 => GroMerge::First,
                2 => GroMerge::Last,
                _ => GroMerge::Sum,
            },
            drop_on_clone: bits & 1 << 8 != 0,
            drop_on_netns: bits & 1 << 9 != 0,
            kept: bits & 1 << 10 != 0,
            retired: bits & 1 << 11 != 0,
        })
    }
}

/// Who may write a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Writers {
    /// XDP programs.
    pub xdp: bool,
    /// TC programs.
    pub tc: bool,
    /// Applications.
    pub app: bool,
}

impl Writers {
    /// As bits: 0 xdp, 1 tc, 2 app.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.xdp as u8 | (self.tc as u8) << 1 | (self.app as u8) << 2
    }
}

/// The value of a field when GRO merges segments with different values. Today the kernel merges
/// only packets whose metadata is equal, as [`GroMerge::Block`] wants.
///
/// Exhaustive: it is two bits of the policy, and these are their four values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroMerge {
    /// Different values must keep segments apart.
    #[default]
    Block = 0,
    /// The first segment's.
    First = 1,
    /// The last segment's.
    Last = 2,
    /// The sum.
    Sum = 3,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_reads_back_from_its_bits() {
        for bits in 0..1 << 12 {
            assert_eq!(Policy::from_bits(bits).map(Policy::bits), Some(bits));
        }
        assert_eq!(Policy::from_bits(1 << 12), None);
    }
}

//! What is there, is gone, or cannot be looked at.

/// Whether something is there, as far as this process can see. That it cannot look does not mean
/// that nothing is there.
///
/// Exhaustive: a look ends in one of three ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// It is.
    There(T),
    /// It is not.
    Gone,
    /// One cannot look, for this reason.
    Unknown(String),
}

impl<T> Found<T> {
    /// What is there.
    pub fn there(&self) -> Option<&T> {
        match self {
            Self::There(it) => Some(it),
            Self::Gone | Self::Unknown(_) => None,
        }
    }
}

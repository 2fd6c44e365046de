//! The result of looking for something.

/// Whether something is there, as far as this process can see. A process that cannot look does not
/// know that nothing is there.
///
/// Exhaustive: a look ends in one of three ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// It is there.
    There(T),
    /// It is not there.
    Gone,
    /// This process cannot look, for this reason.
    Unknown(String),
}

impl<T> Found<T> {
    /// The thing, if it is there.
    pub fn there(&self) -> Option<&T> {
        match self {
            Self::There(it) => Some(it),
            Self::Gone | Self::Unknown(_) => None,
        }
    }
}

//! Directories that root can trust: nobody else can add, move or replace a name in them.

mod directory;
mod pins;
#[cfg(test)]
mod tests;
mod trust;
mod walk;

pub(crate) use directory::Dir;
pub(crate) use trust::{Owner, is_ours, untrusted};

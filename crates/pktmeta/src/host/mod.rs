//! What this process knows of the host's datapath, and how it asks.

pub(crate) mod datagrams;
pub(crate) mod datapath;
mod fields;
pub(crate) mod options;
mod ring;

//! Datagrams.

mod carriers;
mod closed;
pub(crate) mod foreign;
mod fragments;
mod gro;
mod group;
mod load;
mod lookalikes;
mod many;
mod mapped;
pub(crate) mod message;
mod receive;
mod ring;
pub(crate) mod sending;
mod slots;

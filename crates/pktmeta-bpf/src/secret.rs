//! What proves the records of a registry.

use crate::{
    error::{Context, Error},
    sys,
};
use pktmeta_core::seal::Secret;

/// A secret that nobody had.
pub(crate) fn new_secret() -> Result<Secret, Error> {
    loop {
        let random = sys::random().context(|| "draw a secret".into())?;
        if let Some(secret) = Secret::new(random) {
            return Ok(secret);
        }
    }
}

//! The secret that proves a registry's records.

use crate::{
    error::{Context, Error},
    sys,
};
use pktmeta_core::seal::Secret;

/// A new random secret.
pub(crate) fn new_secret() -> Result<Secret, Error> {
    loop {
        let random = sys::random().context(|| "draw a secret".into())?;
        if let Some(secret) = Secret::new(random) {
            return Ok(secret);
        }
    }
}

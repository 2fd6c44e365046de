//! The fields that an `up` registers, and removes again if it fails.

use crate::{datapath::registration::Registration, dir::Dir, error::Error, registry::table};

/// The fields, which readers know before the first record arrives. If this is dropped before the
/// fields are kept, they are restored.
pub(super) struct Fields<'a> {
    root: &'a Dir,
    undo: Option<Undo<'a>>,
}

enum Undo<'a> {
    Remove,
    Restore(&'a Registration),
}

impl<'a> Fields<'a> {
    pub(super) fn register(root: &'a Dir, registration: &'a Registration) -> Result<Self, Error> {
        let undo = match table::create(root, &registration.after)? {
            true => Undo::Remove,
            false => Undo::Restore(registration),
        };
        let fields = Self {
            root,
            undo: Some(undo),
        };
        // Names come first, so that no number is shown by the name that an older schema gave it.
        registration.names_after.write(root)?;
        let Registration { before, after, .. } = registration;
        table::store(root, before, after)?;
        Ok(fields)
    }

    pub(super) fn keep(mut self) {
        self.undo = None;
    }
}

impl Drop for Fields<'_> {
    fn drop(&mut self) {
        let undone = match self.undo.take() {
            None => Ok(()),
            Some(Undo::Remove) => table::forget(self.root),
            Some(Undo::Restore(Registration {
                before,
                after,
                names_before,
                ..
            })) => {
                let restored = table::store(self.root, after, before);
                restored.and_then(|()| names_before.write(self.root))
            }
        };
        if let Err(error) = undone {
            eprintln!("pktmeta: {error:#}");
        }
    }
}

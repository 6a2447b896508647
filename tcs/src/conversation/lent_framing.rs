//! A framing that the function changes.

use std::{
    any::Any,
    ops::{Deref, DerefMut},
};

use crate::{ConnectionInfo, framing::Framing, panics::lock, sync::Mutex};

/// What copies a framing.
pub type CloneFraming<F> = fn(&F) -> F;

/// The framing of a connection while a function has it, and after that until the loop takes it back.
#[derive(Debug, Default)]
pub(crate) struct FramingSlot(Mutex<Option<Box<dyn Any + Send>>>);

impl FramingSlot {
    pub(crate) fn put<F: Framing>(&self, framing: Box<F>) {
        *lock(&self.0) = Some(framing);
    }

    pub(crate) fn take<F: Framing>(&self) -> Option<Box<F>> {
        let framing = lock(&self.0).take();
        framing?.downcast().ok()
    }
}

/// The copy of the framing that a function changes. The loop takes it after the reply, if the function has returned.
#[derive(Debug)]
pub struct LentFraming<'a, F: Framing> {
    info: &'a ConnectionInfo,
    framing: Box<F>,
}

impl<'a, F: Framing> LentFraming<'a, F> {
    /// Takes the copy that the loop has made. Without a loop, the framing is a new one.
    pub fn take(info: &'a ConnectionInfo) -> Self {
        let framing = info.conversation().framing.take().unwrap_or_default();
        Self { info, framing }
    }
}

impl<F: Framing> Deref for LentFraming<'_, F> {
    type Target = F;

    fn deref(&self) -> &F {
        &self.framing
    }
}

impl<F: Framing> DerefMut for LentFraming<'_, F> {
    fn deref_mut(&mut self) -> &mut F {
        &mut self.framing
    }
}

impl<F: Framing> Drop for LentFraming<'_, F> {
    fn drop(&mut self) {
        let framing = std::mem::take(&mut self.framing);
        self.info.conversation().framing.put(framing);
    }
}

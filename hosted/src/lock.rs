//! Locking.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Returns locks. A panic of another thread in the middle of a call is that thread's affair.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

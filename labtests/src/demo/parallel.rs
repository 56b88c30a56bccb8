//! Many nodes asked at the same time.

use std::thread;

/// Runs `one` on every item, each in a thread, and keeps the order.
pub(crate) fn at_once<T: Send + Sync, R: Send>(items: Vec<T>, one: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (items, one) = (&items, &one);
    thread::scope(|scope| {
        let started: Vec<_> = items.iter().map(|item| scope.spawn(move || one(item))).collect();
        started.into_iter().filter_map(|thread| thread.join().ok()).collect()
    })
}

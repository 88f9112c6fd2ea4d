//! The one place that names the atomics, locks and threads the core is built from.
//!
//! Under `--cfg loom` they are those of the model checker, which runs a model (`models.rs`) in
//! every order its threads could take (`make test-loom`).

pub use std::sync::Arc;
/// For what only advises and is never relied on; the checker's own cannot stand in a `static`.
pub use std::sync::atomic::AtomicUsize as StaticCount;

#[cfg(not(loom))]
mod chosen {
    pub use super::super::brief::Brief;
    pub use crossbeam_queue::SegQueue as Store;
    pub use crossbeam_utils::CachePadded;
    pub use parking_lot::{Mutex, RwLock};
    pub use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
    pub use std::thread::{self, Thread};
}

#[cfg(loom)]
mod chosen {
    pub use super::model::thread::{self, Thread};
    pub use super::model::{CachePadded, Mutex, Mutex as Brief, RwLock, Store};
    pub use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
}

pub use chosen::*;

/// Stand-ins with the checker's types inside and the real ones' names and signatures.
#[cfg(loom)]
mod model {
    use super::{AtomicUsize, Ordering};
    use loom::sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};
    use std::collections::VecDeque;
    use std::ops::Deref;

    #[derive(Debug, Default)]
    pub struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }
        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }
    }

    #[derive(Debug, Default)]
    pub struct RwLock<T>(loom::sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub fn new(value: T) -> Self {
            Self(loom::sync::RwLock::new(value))
        }
        pub fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read().unwrap()
        }
        pub fn write(&self) -> RwLockWriteGuard<'_, T> {
            self.0.write().unwrap()
        }
    }

    #[derive(Debug, Default)]
    pub struct CachePadded<T>(T);

    impl<T> CachePadded<T> {
        pub fn new(value: T) -> Self {
            Self(value)
        }
    }

    impl<T> Deref for CachePadded<T> {
        type Target = T;
        fn deref(&self) -> &T {
            &self.0
        }
    }

    /// A queue that promises less than the real one: release on push, acquire on a look, and no
    /// order between a look and anything else. What holds with it holds with `SegQueue`.
    #[derive(Debug)]
    pub struct Store<T> {
        items: Mutex<VecDeque<T>>,
        /// Beside the lock, so that looking orders nothing by the way.
        count: AtomicUsize,
    }

    impl<T> Store<T> {
        pub fn new() -> Self {
            Self {
                items: Mutex::new(VecDeque::new()),
                count: AtomicUsize::new(0),
            }
        }
        pub fn push(&self, item: T) {
            let mut items = self.items.lock();
            items.push_back(item);
            // Release: pairs with the acquire in `len`, as a look at the real one would.
            self.count.fetch_add(1, Ordering::Release);
        }
        pub fn pop(&self) -> Option<T> {
            if self.is_empty() {
                return None;
            }
            let mut items = self.items.lock();
            let item = items.pop_front()?;
            // AcqRel: as in `push` and `len`; the chain of counts stays one.
            self.count.fetch_sub(1, Ordering::AcqRel);
            Some(item)
        }
        pub fn is_empty(&self) -> bool {
            self.len() == 0
        }
        pub fn len(&self) -> usize {
            // Acquire: pairs with the release in `push`.
            self.count.load(Ordering::Acquire)
        }
    }

    /// Threads whose `park` remembers an `unpark` as long as the real one does. The checker's own
    /// forgets one that comes while the thread waits for a lock.
    pub mod thread {
        use super::super::Arc;
        use loom::sync::{Condvar, Mutex};
        use std::cell::RefCell;
        use std::io;

        loom::thread_local! {
            static CURRENT: RefCell<Option<Thread>> = RefCell::new(None);
        }

        #[derive(Clone, Debug, Default)]
        pub struct Thread(Arc<(Mutex<bool>, Condvar)>);

        impl Thread {
            pub fn unpark(&self) {
                *self.0.0.lock().unwrap() = true;
                self.0.1.notify_one();
            }
        }

        pub fn current() -> Thread {
            CURRENT.with(|own| own.borrow_mut().get_or_insert_default().clone())
        }

        pub fn park() {
            let Thread(own) = current();
            let mut unparked = own.0.lock().unwrap();
            while !*unparked {
                unparked = own.1.wait(unparked).unwrap();
            }
            *unparked = false;
        }

        #[derive(Debug)]
        pub struct JoinHandle<T>(loom::thread::JoinHandle<T>, Thread);

        impl<T> JoinHandle<T> {
            pub fn join(self) -> std::thread::Result<T> {
                self.0.join()
            }
            pub fn thread(&self) -> &Thread {
                &self.1
            }
        }

        #[derive(Debug, Default)]
        pub struct Builder;

        impl Builder {
            pub fn new() -> Self {
                Self
            }
            pub fn name(self, _name: String) -> Self {
                self
            }
            pub fn spawn<T: 'static>(
                self,
                work: impl FnOnce() -> T + 'static,
            ) -> io::Result<JoinHandle<T>> {
                let thread = Thread::default();
                let own = thread.clone();
                let handle = loom::thread::spawn(move || {
                    CURRENT.with(|place| *place.borrow_mut() = Some(own));
                    work()
                });
                Ok(JoinHandle(handle, thread))
            }
        }

        pub fn spawn<T: 'static>(work: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
            Builder::new().spawn(work).expect("the checker has threads")
        }

        pub use loom::thread::yield_now;
    }
}

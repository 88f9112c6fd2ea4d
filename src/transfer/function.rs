//! Functions that have a name: sent as module and qualified name, known by a number after that.
//!
//! Guarantees: a number is never used twice in a process, so a worker's memory of a function
//! cannot become another function's. Who asks `Known::get` learns of a function only while its
//! name still leads to it, so a reloaded or redefined one gets a new number.

use crate::interp::attach::Attached;
use crate::interp::object::{Object, Outcome, Raised};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How to find a function in any interpreter.
#[derive(Debug)]
pub struct Definition {
    pub number: u64,
    pub module: String,
    pub qualname: String,
}

impl Definition {
    #[must_use]
    pub fn new(module: String, qualname: String) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // Relaxed: only uniqueness matters.
        Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            module,
            qualname,
        }
    }
}

/// Functions the main interpreter has sent before, by identity.
///
/// Each entry keeps its function alive, so an address cannot come to mean another object. The
/// table is emptied when full: a program with that many tasks by name loses a look-up, no more.
///
/// Following a name may run a module's `__getattr__`, and dropping an entry a finalizer, and
/// either may submit: no borrow of the table is held across them.
pub struct Known<'i> {
    entries: RefCell<HashMap<usize, Rc<Entry<'i>>>>,
}

struct Entry<'i> {
    function: Object<'i>,
    /// What the name led to: the function, or the tag that decorates it.
    target: Object<'i>,
    module: Object<'i>,
    path: Vec<Object<'i>>,
    definition: Arc<Definition>,
}

const MOST_KNOWN: usize = 4096;

impl<'i> Known<'i> {
    #[must_use]
    pub fn new() -> Self {
        Self {
            entries: RefCell::new(HashMap::new()),
        }
    }

    /// The definition of `function`, if it was entered and its name still leads to it.
    #[must_use]
    pub fn get(&self, function: &Object<'i>) -> Option<Arc<Definition>> {
        let entry = Rc::clone(self.entries.borrow().get(&(function.as_ptr() as usize))?);
        match follow(&entry.module, &entry.path) {
            Ok(found) if found.as_ptr() == entry.target.as_ptr() => {
                Some(Arc::clone(&entry.definition))
            }
            Ok(_) => None,
            Err(raised) => {
                // The name is gone; the caller finds out what that means for the function.
                raised.clear(function.token());
                None
            }
        }
    }

    pub fn enter(
        &self,
        function: Object<'i>,
        target: Object<'i>,
        definition: &Arc<Definition>,
    ) -> Result<(), Raised> {
        let token = function.token();
        let path = definition
            .qualname
            .split('.')
            .map(|name| Object::string(token, name));
        let entry = Rc::new(Entry {
            target,
            module: Object::string(token, &definition.module)?,
            path: path.collect::<Result<_, _>>()?,
            definition: Arc::clone(definition),
            function,
        });
        let dropped = {
            let mut entries = self.entries.borrow_mut();
            let emptied = if entries.len() >= MOST_KNOWN {
                entries.drain().collect()
            } else {
                vec![]
            };
            (
                emptied,
                entries.insert(entry.function.as_ptr() as usize, entry),
            )
        };
        drop(dropped);
        Ok(())
    }
}

impl Default for Known<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// `sys.modules[module].a.b.c`, without importing anything.
fn follow<'i>(module: &Object<'i>, path: &[Object<'i>]) -> Result<Object<'i>, Raised> {
    let mut found = module.as_imported_module()?;
    for name in path {
        found = found.attribute_named(name)?;
    }
    Ok(found)
}

/// The function of that name, its module imported; a tag gives way to what it wraps.
///
/// Native, because a worker would have to import Python code of ours for it before its first task.
fn resolve<'i>(token: Attached<'i>, module: &str, qualname: &str) -> Outcome<'i> {
    let mut found = Object::string(token, module)?.import_named()?;
    for name in qualname.split('.') {
        found = found.attribute_named(&Object::string(token, name)?)?;
    }
    let routing = Object::string(token, "subpool.routing")?.as_imported_module();
    match routing.and_then(|routing| routing.attribute(c"Tagged")) {
        Ok(tagged) => {
            while found.is_instance(&tagged)? {
                found = found.attribute(c"__wrapped__")?;
            }
        }
        // Nobody has imported what makes tags, so this is none.
        Err(raised) => raised.clear(token),
    }
    Ok(found)
}

/// Functions one worker has found, by number.
pub struct Found<'i>(HashMap<u64, Object<'i>>);

impl<'i> Found<'i> {
    #[must_use]
    pub fn new() -> Self {
        Self(HashMap::new())
    }

    /// The function of `definition`, found once.
    pub fn get(
        &mut self,
        token: Attached<'i>,
        definition: &Definition,
    ) -> Result<&Object<'i>, Raised> {
        use std::collections::hash_map::Entry;
        match self.0.entry(definition.number) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => {
                let function = resolve(token, &definition.module, &definition.qualname)?;
                Ok(place.insert(function))
            }
        }
    }
}

impl Default for Found<'_> {
    fn default() -> Self {
        Self::new()
    }
}

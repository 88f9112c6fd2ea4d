//! Functions that have a name: sent as module and qualified name, known by a number after that.
//!
//! Guarantees: a number is never used twice in a process, so a worker's memory of a function
//! cannot become another function's. Who asks `Known::get` learns of a function only while its
//! name still leads to it, so a reloaded or redefined one gets a new number.

use super::value::Payload;
use crate::interp::attach::Attached;
use crate::interp::object::{Object, Outcome, Raised};
use rustc_hash::FxHashMap;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A function as any interpreter can have it.
#[derive(Debug)]
pub struct Definition {
    pub number: u64,
    pub source: Source,
}

#[derive(Debug)]
pub enum Source {
    /// Where to import it from.
    Name { module: String, qualname: String },
    /// The function itself, by value, and its name for error messages.
    Code { label: String, payload: Payload },
}

impl Definition {
    #[must_use]
    pub fn new(source: Source) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // Relaxed: only uniqueness matters.
        Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            source,
        }
    }
}

impl fmt::Display for Definition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Name { module, qualname } => write!(out, "{module}.{qualname}"),
            Source::Code { label, .. } => out.write_str(label),
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
    entries: RefCell<FxHashMap<usize, Rc<Entry<'i>>>>,
    /// How often all of them were forgotten.
    cleared: Cell<u64>,
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
            entries: RefCell::new(FxHashMap::default()),
            cleared: Cell::new(0),
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

    /// Enters `function`, which `module` and `qualname` lead to as `target`.
    pub fn enter(
        &self,
        function: Object<'i>,
        target: Object<'i>,
        module: &str,
        qualname: &str,
    ) -> Result<Arc<Definition>, Raised> {
        let token = function.token();
        let path = qualname.split('.').map(|name| Object::string(token, name));
        let definition = Arc::new(Definition::new(Source::Name {
            module: module.into(),
            qualname: qualname.into(),
        }));
        let entry = Rc::new(Entry {
            target,
            module: Object::string(token, module)?,
            path: path.collect::<Result<_, _>>()?,
            definition: Arc::clone(&definition),
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
        Ok(definition)
    }

    /// Forgets all of them: what a name means for a function's way has changed.
    pub fn clear(&self) {
        self.cleared.set(self.cleared.get() + 1);
        let dropped = self.entries.take();
        drop(dropped);
    }

    /// How often `clear` was called: who asks Python for a name may find it forgotten meanwhile.
    #[must_use]
    pub const fn cleared(&self) -> u64 {
        self.cleared.get()
    }
}

impl Default for Known<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// `sys.modules[module].a.b.c`, without importing anything.
pub fn follow<'i>(module: &Object<'i>, path: &[Object<'i>]) -> Result<Object<'i>, Raised> {
    let mut found = module.as_imported_module()?;
    for name in path {
        found = found.global_named(name)?;
    }
    Ok(found)
}

/// The function of that name, its module imported; a tag gives way to what it wraps.
///
/// Native, because a worker would have to import Python code of ours for it before its first task.
pub fn resolve<'i>(token: Attached<'i>, module: &str, qualname: &str) -> Outcome<'i> {
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
pub struct Found<'i> {
    functions: FxHashMap<u64, (Object<'i>, String)>,
    /// Those that came by value, oldest first: each belongs to one `map`, and goes after it.
    by_value: VecDeque<u64>,
}

/// As many by-value functions as a worker keeps: `map`s that run at the same time.
const MOST_BY_VALUE: usize = 16;

impl<'i> Found<'i> {
    #[must_use]
    pub fn new() -> Self {
        Self {
            functions: FxHashMap::default(),
            by_value: VecDeque::new(),
        }
    }

    /// The function of `definition`, found once with `find`.
    pub fn get(
        &mut self,
        definition: &Definition,
        find: impl FnOnce() -> Outcome<'i>,
    ) -> Outcome<'i> {
        if let Some((found, _)) = self.functions.get(&definition.number) {
            return Ok(found.share());
        }
        let found = find()?;
        if matches!(definition.source, Source::Code { .. }) {
            if self.by_value.len() >= MOST_BY_VALUE
                && let Some(oldest) = self.by_value.pop_front()
            {
                self.functions.remove(&oldest);
            }
            self.by_value.push_back(definition.number);
        }
        let known = (found.share(), definition.to_string());
        self.functions.insert(definition.number, known);
        Ok(found)
    }

    /// The name of the function of that number.
    #[must_use]
    pub fn name(&self, number: u64) -> Option<&str> {
        self.functions.get(&number).map(|(_, name)| &**name)
    }
}

impl Default for Found<'_> {
    fn default() -> Self {
        Self::new()
    }
}

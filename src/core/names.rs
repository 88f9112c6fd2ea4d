//! Which modules a pickle names, among those whose names mean nothing to another interpreter.
//!
//! Guarantees: a pickle that names such a module, or one below it, is recognised; one that merely
//! holds the module's name as a string may be taken for one that names it, and goes the slow way.

use memchr::memmem::Finder;

/// What a name follows in a pickle: this opcode and its length (`SHORT_BINUNICODE`).
const SHORT_STRING: u8 = 0x8c;

/// `__main__` as a pickle has it: another module in every interpreter.
const MAIN: &[u8] = b"\x8c\x08__main__";

/// The modules that no worker can import, or shall not.
#[derive(Debug)]
pub struct Names {
    main: Finder<'static>,
    others: Vec<Finder<'static>>,
}

impl Names {
    /// `__main__`, and these with all that is below them.
    pub fn new<'a>(others: impl IntoIterator<Item = &'a str>) -> Self {
        let finders = others
            .into_iter()
            .map(|name| Finder::new(name).into_owned());
        Self {
            main: Finder::new(MAIN),
            others: finders.collect(),
        }
    }

    /// Whether the module of this name is among them.
    #[must_use]
    pub fn has(&self, module: &str) -> bool {
        module == "__main__"
            || self.others.iter().any(|name| {
                let below = module.as_bytes().strip_prefix(name.needle());
                below.is_some_and(|below| below.is_empty() || below.starts_with(b"."))
            })
    }

    #[must_use]
    pub fn any_in(&self, pickled: &[u8]) -> bool {
        self.main.find(pickled).is_some() || self.others.iter().any(|name| names(name, pickled))
    }
}

fn names(name: &Finder<'_>, pickled: &[u8]) -> bool {
    let length = name.needle().len();
    name.find_iter(pickled).any(|place| {
        let (before, rest) = pickled.split_at(place);
        let Some(&[SHORT_STRING, given]) = before.last_chunk::<2>() else {
            return false;
        };
        let given = usize::from(given);
        given == length || (given > length && rest.get(length) == Some(&b'.'))
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Names;

    fn pickled(name: &str) -> Vec<u8> {
        let mut bytes = b"\x80\x05".to_vec();
        bytes.extend([0x8c, name.len() as u8]);
        bytes.extend(name.as_bytes());
        bytes.extend(b"\x94\x8c\x01f\x94\x93\x94.");
        bytes
    }

    #[test]
    fn the_module_itself_and_what_is_below_it() {
        let names = Names::new([]);
        assert!(names.any_in(&pickled("__main__")));
        assert!(!names.any_in(&pickled("app.tasks")));
        let names = Names::new(["app.tasks", "other"]);
        for name in ["app.tasks", "app.tasks.deep.er", "other", "__main__"] {
            assert!(names.has(name) && names.any_in(&pickled(name)), "{name}");
        }
        for name in ["app", "app.tasks2", "my.app.tasks", "an other", "others"] {
            assert!(!names.has(name) && !names.any_in(&pickled(name)), "{name}");
        }
    }

    #[test]
    fn a_name_at_the_edges() {
        let names = Names::new(["app"]);
        assert!(!names.any_in(b"app"));
        assert!(!names.any_in(b"\x03app"));
        assert!(names.any_in(b"\x8c\x03app"));
        assert!(!names.any_in(b"\x8c\x07app"));
        assert!(names.any_in(b"app\x8c\x01appapp\x8c\x05app.b"));
    }
}

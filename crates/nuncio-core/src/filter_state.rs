//! Filter state: named objects that filters leave for each other, for routes and for logs.
//!
//! Objects are kept as the text they are made from and printed as (Envoy's `envoy.string` and its kin).

/// The objects of one exchange, in the order they were set; there are few.
#[derive(Debug, Default, Clone)]
pub struct FilterState(Vec<StateObject>);

/// How far an object goes beyond its connection (`shared_with_upstream`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sharing {
    /// It stays.
    #[default]
    None,
    /// To the upstream connection.
    Once,
    /// To that, and to those that are made for it.
    Transitive,
}

/// One object.
#[derive(Debug, Clone, Default)]
pub struct StateObject {
    /// Its name.
    pub key: Box<str>,
    /// The object, written out.
    pub value: Vec<u8>,
    /// It cannot be replaced.
    pub read_only: bool,
    /// It is not a text: what is written out is JSON, and it has no plain form.
    pub json: bool,
    /// How far it goes.
    pub shared: Sharing,
    /// Where it is shared, connections are only for those who have the same value.
    pub hashable: bool,
}

impl FilterState {
    /// The object under this name, written out.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.object(key).map(|object| &*object.value)
    }

    /// The object under this name.
    pub fn object(&self, key: &str) -> Option<&StateObject> {
        self.0.iter().find(|object| *object.key == *key)
    }

    /// Sets an object; a read-only one stays as it is.
    pub fn set(&mut self, object: StateObject) {
        match self.0.iter_mut().find(|held| held.key == object.key) {
            Some(held) if held.read_only => {}
            Some(held) => *held = object,
            None => self.0.push(object),
        }
    }

    /// All objects.
    pub fn iter(&self) -> impl Iterator<Item = &StateObject> {
        self.0.iter()
    }

    /// Forgets all objects.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

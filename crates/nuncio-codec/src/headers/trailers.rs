//! The trailers of a message: a header map that takes no room until there is one.
//!
//! Few messages have any, every stream has a place for two. Reads as an empty map; the first change makes a map,
//! which [`Trailers::clear`] keeps for the next message.

use super::HeaderMap;
use std::ops::{Deref, DerefMut};

static NONE: HeaderMap = HeaderMap::EMPTY;

/// A [`HeaderMap`] that is made when it is first changed.
#[derive(Debug, Clone, Default)]
pub struct Trailers(Option<Box<HeaderMap>>);

impl Trailers {
    /// Empties the map and keeps its memory; makes none.
    #[inline]
    pub fn clear(&mut self) {
        if let Some(map) = &mut self.0 {
            map.clear();
        }
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|map| map.is_empty())
    }
}

impl From<HeaderMap> for Trailers {
    fn from(map: HeaderMap) -> Trailers {
        Trailers((!map.is_empty()).then(|| Box::new(map)))
    }
}

impl Deref for Trailers {
    type Target = HeaderMap;

    #[inline]
    fn deref(&self) -> &HeaderMap {
        self.0.as_deref().unwrap_or(&NONE)
    }
}

impl DerefMut for Trailers {
    #[inline]
    fn deref_mut(&mut self) -> &mut HeaderMap {
        self.0.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_without_trailers_costs_no_map() {
        let mut trailers = Trailers::default();
        trailers.clear();
        assert!(trailers.is_empty() && trailers.get("grpc-status").is_none() && trailers.0.is_none());
        trailers.append("grpc-status", "0");
        assert_eq!(trailers.get("grpc-status"), Some(&b"0"[..]));
        trailers.clear();
        assert!(trailers.is_empty() && trailers.0.is_some());
    }
}

//! Fields that are understood and not built yet.
//!
//! Messages are taken apart with every field named, so a field is either used, or given to one of these macros:
//!
//! ```ignore
//! let Cluster { name, track_timeout_budgets, transport_socket, .. } = proto; // in real code without `..`
//! unbuilt!(cx, track_timeout_budgets);           // warning "accepted without effect" if it is set
//! unsafe_unbuilt!(cx, transport_socket);         // the same when checking; refused when starting
//! ```

use std::collections::HashMap;

/// Whether a field was set, as far as proto3 can tell.
pub trait IsSet {
    /// True unless it has its default value.
    fn is_set(&self) -> bool;
}

impl<T> IsSet for Option<T> {
    fn is_set(&self) -> bool {
        self.is_some()
    }
}
impl<T> IsSet for [T] {
    fn is_set(&self) -> bool {
        !self.is_empty()
    }
}
impl<T> IsSet for Vec<T> {
    fn is_set(&self) -> bool {
        !self.is_empty()
    }
}
impl<K, V> IsSet for HashMap<K, V> {
    fn is_set(&self) -> bool {
        !self.is_empty()
    }
}
impl IsSet for String {
    fn is_set(&self) -> bool {
        !self.is_empty()
    }
}
impl IsSet for bool {
    fn is_set(&self) -> bool {
        *self
    }
}
impl<T: IsSet + ?Sized> IsSet for &T {
    fn is_set(&self) -> bool {
        (**self).is_set()
    }
}
macro_rules! numbers {
    ($($t:ty),+) => {$(
        impl IsSet for $t {
            fn is_set(&self) -> bool {
                *self != <$t>::default()
            }
        }
    )+};
}
numbers!(i32, i64, u32, u64, f32, f64);

/// Each of these fields is accepted without effect: a located warning if it is set. The identifier is the field's name
/// (`r#type` for `type`).
#[macro_export]
macro_rules! unbuilt {
    ($cx:expr, $($field:ident),+ $(,)?) => {{$(
        if $crate::IsSet::is_set(&$field) {
            $cx.without_effect($crate::field_name(stringify!($field)));
        }
    )+}};
}

/// Each of these fields is unsafe to ignore: a located warning when only checking, an error when starting.
#[macro_export]
macro_rules! unsafe_unbuilt {
    ($cx:expr, $($field:ident),+ $(,)?) => {{$(
        if $crate::IsSet::is_set(&$field) {
            $cx.unsafe_without($crate::field_name(stringify!($field)));
        }
    )+}};
}

/// A Rust identifier as the field is called: `r#type` is `type`.
pub const fn field_name(identifier: &'static str) -> &'static str {
    match identifier.as_bytes() {
        [b'r', b'#', ..] => identifier.split_at(2).1,
        _ => identifier,
    }
}

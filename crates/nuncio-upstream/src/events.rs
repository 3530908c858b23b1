//! Lines of event logs: JSON objects of one line, members in the order of their fields, as Envoy writes them.

use nuncio_core::LineSink;
use nuncio_core::format::{Civil, DateFormat};
use nuncio_stats::Lane;
use std::{
    fmt::Write,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

/// Where events are written to.
#[derive(Debug, Clone)]
pub struct EventLog(pub Arc<dyn LineSink>);

impl PartialEq for EventLog {
    /// The same file is the same log.
    fn eq(&self, other: &EventLog) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// An object in the making.
#[derive(Debug)]
pub(crate) struct Object(String);

impl Object {
    pub(crate) fn new() -> Object {
        Object("{".to_owned())
    }

    fn name(&mut self, name: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        // Names are ours and need no escapes; writing to a string cannot fail.
        let _ = write!(self.0, "\"{name}\":");
    }

    /// A member that is a text.
    pub(crate) fn text(mut self, name: &str, value: &str) -> Object {
        self.name(name);
        self.0.push('"');
        for c in value.chars() {
            match c {
                '"' | '\\' => self.0.extend(['\\', c]),
                '\n' => self.0.push_str("\\n"),
                c if u32::from(c) < 0x20 => _ = write!(self.0, "\\u{:04x}", u32::from(c)),
                c => self.0.push(c),
            }
        }
        self.0.push('"');
        self
    }

    /// A member that prints as it is: a number, a boolean.
    pub(crate) fn plain(mut self, name: &str, value: impl std::fmt::Display) -> Object {
        self.name(name);
        let _ = write!(self.0, "{value}");
        self
    }

    /// A member that is an object.
    pub(crate) fn object(mut self, name: &str, value: Object) -> Object {
        self.name(name);
        self.0.push_str(&value.0);
        self.0.push('}');
        self
    }

    /// A member that is a moment, to the millisecond.
    pub(crate) fn time(self, name: &str, at: SystemTime) -> Object {
        static FORMATS: OnceLock<[DateFormat; 2]> = OnceLock::new();
        let [fraction, whole] = FORMATS.get_or_init(|| ["%Y-%m-%dT%H:%M:%E3SZ", "%Y-%m-%dT%H:%M:%SZ"].map(DateFormat::new));
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let mut text = Vec::new();
        let format = if since.subsec_millis() == 0 { whole } else { fraction };
        format.write(&Civil::utc(at), &mut text);
        self.text(name, &String::from_utf8_lossy(&text))
    }

    /// The whole line goes to these logs. On the main thread.
    pub(crate) fn write<'a>(mut self, logs: impl IntoIterator<Item = &'a EventLog>) {
        self.0.push_str("}\n");
        logs.into_iter().for_each(|log| log.0.write(Lane::MAIN, self.0.as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_follow_each_other_and_texts_are_escaped() {
        let inner = Object::new().plain("n", 1).plain("yes", true);
        let line = Object::new().text("a", "x\"\\\n\u{1}").object("o", inner).object("empty", Object::new());
        assert_eq!(line.0, r#"{"a":"x\"\\\n\u0001","o":{"n":1,"yes":true},"empty":{}"#);
    }

    #[test]
    fn moments_have_milliseconds_unless_there_are_none() {
        let at = |ms| Object::new().time("t", SystemTime::UNIX_EPOCH + Duration::from_millis(ms)).0;
        assert_eq!(at(1_795_234_588_720), "{\"t\":\"2026-11-21T04:16:28.720Z\"");
        assert_eq!(at(1_795_234_588_000), "{\"t\":\"2026-11-21T04:16:28Z\"");
    }
}

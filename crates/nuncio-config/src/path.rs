//! Where in the configuration we are: pushed and popped at no cost, written out only for a finding.

use std::fmt::Write as _;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A field, by its proto name.
    Field(&'static str),
    /// A list item.
    Index(usize),
    /// A map's key.
    Key(Box<str>),
    /// Steps written out already, as an extension reports them: `a.b[0]`.
    Text(Box<str>),
}

/// The path of a field below the message being compiled.
#[derive(Debug, Clone, Default)]
pub struct Path(Vec<Step>);

impl Path {
    /// One step deeper.
    pub fn push(&mut self, step: Step) {
        self.0.push(step);
    }

    /// Back again.
    pub fn pop(&mut self) {
        self.0.pop();
    }

    /// As Envoy writes paths: `static_resources.clusters[0].metadata.filter_metadata["a.b"]`.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for step in &self.0 {
            // Writing to a String cannot fail.
            let _ = match step {
                Step::Text(steps) if steps.is_empty() => Ok(()),
                Step::Field(name) if text.is_empty() => write!(text, "{name}"),
                Step::Text(steps) if text.is_empty() || steps.starts_with('[') => write!(text, "{steps}"),
                Step::Field(name) => write!(text, ".{name}"),
                Step::Text(steps) => write!(text, ".{steps}"),
                Step::Index(at) => write!(text, "[{at}]"),
                Step::Key(key) => write!(text, "[\"{key}\"]"),
            };
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_envoy_writes_it() {
        let mut path = Path::default();
        assert_eq!(path.text(), "");
        for step in [Step::Field("a"), Step::Index(3), Step::Field("b"), Step::Key("x.y".into()), Step::Text("c[0].d".into())] {
            path.push(step);
        }
        assert_eq!(path.text(), "a[3].b[\"x.y\"].c[0].d");
        path.pop();
        assert_eq!(path.text(), "a[3].b[\"x.y\"]");
    }
}

//! One thing found in a configuration, by the path of the field rather than by its place in a text: xDS resources are
//! judged by the same code and have no text.

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Accepted; a person should look at it.
    Warning,
    /// Refused.
    Error,
}

/// One finding. `nuncio-api` renders it once the path has become a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Stable code, see [`crate::codes`].
    pub code: &'static str,
    /// Error or warning.
    pub severity: Severity,
    /// Path of the field, `static_resources.clusters[0].name`; empty for the whole.
    pub path: String,
    /// Point at the key rather than at the value.
    pub at_key: bool,
    /// One sentence without a full stop.
    pub message: String,
    /// What stands under the carets; may be empty.
    pub label: String,
    /// What Envoy 1.40 says to the same, word for word; empty where Envoy says nothing.
    pub envoy: String,
    /// Facts that help to understand.
    pub notes: Vec<String>,
    /// What to do.
    pub help: Vec<String>,
    /// Other places: path and what is there.
    pub also: Vec<(String, String)>,
    /// A better text for the value pointed at, where it is certain enough for `--fix`.
    pub replacement: Option<String>,
}

impl Finding {
    /// A finding at a path.
    pub fn new(severity: Severity, code: &'static str, path: String, message: impl Into<String>) -> Finding {
        Finding {
            code,
            severity,
            path,
            at_key: false,
            message: message.into(),
            label: String::new(),
            envoy: String::new(),
            notes: Vec::new(),
            help: Vec::new(),
            also: Vec::new(),
            replacement: None,
        }
    }

    /// Sets the text under the carets.
    pub fn label(&mut self, text: impl Into<String>) -> &mut Finding {
        self.label = text.into();
        self
    }

    /// Points at the key.
    pub fn on_key(&mut self) -> &mut Finding {
        self.at_key = true;
        self
    }

    /// Quotes Envoy's own words.
    pub fn envoy(&mut self, text: impl Into<String>) -> &mut Finding {
        self.envoy = text.into();
        self
    }

    /// Adds a fact.
    pub fn note(&mut self, text: impl Into<String>) -> &mut Finding {
        self.notes.push(text.into());
        self
    }

    /// Adds what to do.
    pub fn help(&mut self, text: impl Into<String>) -> &mut Finding {
        self.help.push(text.into());
        self
    }

    /// Adds another place, by its full path.
    pub fn also(&mut self, path: impl Into<String>, text: impl Into<String>) -> &mut Finding {
        self.also.push((path.into(), text.into()));
        self
    }

    /// Offers a better value to `--fix`.
    pub fn replacement(&mut self, value: impl Into<String>) -> &mut Finding {
        self.replacement = Some(value.into());
        self
    }

    /// It is an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

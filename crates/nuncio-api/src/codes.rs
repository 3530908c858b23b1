//! The stable codes of findings, and what each one means.
//!
//! A code never changes its meaning. Other crates that report about configurations have their own ranges: 04xx and up.

/// Makes a constant of each code, and `ALL` and `explain` from their comments.
#[macro_export]
macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal;)+) => {
        $($(#[doc = $doc])+ pub const $name: &str = $code;)+

        /// All codes with their explanation, in order.
        pub const ALL: &[(&str, &str)] = &[$(($code, concat!($($doc, "\n"),+))),+];

        /// What a code means, in a few sentences.
        pub fn explain(code: &str) -> Option<&'static str> {
            ALL.iter().find(|(c, _)| c.eq_ignore_ascii_case(code)).map(|(_, text)| *text)
        }
    };
}

crate::codes! {
    /// The text is not valid YAML. Nothing of the file could be read; the place is where the parser gave up, or the line
    /// whose indentation is to blame.
    YAML_SYNTAX = "NUN0001";
    /// The text is not valid JSON. A file whose name ends in `.json` is read as JSON, every other as YAML.
    JSON_SYNTAX = "NUN0002";
    /// The file holds nothing but blanks and comments.
    EMPTY = "NUN0003";
    /// The document is a list or a lone value; a configuration is an object of keys and values.
    NOT_AN_OBJECT = "NUN0004";
    /// Envoy's JSON reader takes this, RFC 8259 does not.
    JSON_LENIENT = "NUN0005";
    /// A key stands twice in one map. Envoy takes the last one without a word.
    DUPLICATE_KEY = "NUN0006";
    /// The YAML merge key `<<` is not known to Envoy, which refuses it; Nuncio merges.
    MERGE_KEY = "NUN0007";
    /// The document is nested too deeply, or its aliases repeat more than a sane document would.
    TOO_DEEP = "NUN0008";
    /// A file may hold several YAML documents; only the first is read, as by Envoy.
    SECOND_DOCUMENT = "NUN0009";
    /// A configuration is text in UTF-8.
    NOT_UTF8 = "NUN0010";
    /// The value is of another type than the field: a list for an object, a word for a number.
    WRONG_TYPE = "NUN0101";
    /// The number does not fit the field's type, or has a fraction where a whole number is needed.
    BAD_NUMBER = "NUN0102";
    /// The message has no field of that name. Mostly a spelling mistake, or a key that is indented too little or too much.
    UNKNOWN_FIELD = "NUN0103";
    /// The enumeration has no value of that name. Case does not matter.
    BAD_ENUM = "NUN0104";
    /// Two fields are set of which only one may be.
    ONEOF_TWICE = "NUN0105";
    /// There is no message of the name in `@type`.
    UNKNOWN_TYPE = "NUN0106";
    /// An extension needs a `typed_config` with an `@type`. Where only its name is given, well-known extensions get their
    /// default configuration; Envoy refuses.
    NO_TYPE = "NUN0107";
    /// A duration is a decimal number of seconds followed by `s`: `2s`, `0.25s`.
    BAD_DURATION = "NUN0108";
    /// The text is not of the form that the field needs: base64, a timestamp.
    BAD_FORMAT = "NUN0109";
    /// YAML reads unquoted `yes`, `no`, `on`, `off`, `y`, `n` as booleans and digits as numbers; the field is a string.
    NOT_A_STRING = "NUN0110";
    /// A name of Envoy's v2 API, which was removed.
    V2_API = "NUN0111";
    /// A Kubernetes object, not an Envoy configuration.
    KUBERNETES_OBJECT = "NUN0112";
    /// Access control named without its configuration would let everything pass; it is refused in every mode.
    UNCONFIGURED_ACCESS_CONTROL = "NUN0113";
    /// The message exists, but no extension of this kind is configured by it.
    UNREGISTERED = "NUN0114";
    /// A number is outside the bounds that the API sets.
    OUT_OF_BOUNDS = "NUN0201";
    /// A field that must be set is not.
    REQUIRED = "NUN0202";
    /// One of several fields must be set and none is.
    ONEOF_REQUIRED = "NUN0203";
    /// A text is too short, too long, or has characters that it must not have.
    BAD_TEXT = "NUN0204";
    /// A list or map has too few or too many items, or one of them twice.
    BAD_COUNT = "NUN0205";
    /// The value is not one of those allowed here.
    NOT_ALLOWED = "NUN0206";
    /// A deprecated field: it works, and will be removed from Envoy.
    DEPRECATED = "NUN0301";
    /// A field or value that Envoy no longer accepts.
    DISALLOWED = "NUN0302";
}

#[cfg(test)]
mod tests {
    #[test]
    fn codes_are_unique_and_explained() {
        for pair in super::ALL.windows(2) {
            assert!(pair[0].0 < pair[1].0, "{} then {}", pair[0].0, pair[1].0);
        }
        assert!(super::explain("nun0103").is_some_and(|t| t.contains("no field of that name")));
    }
}

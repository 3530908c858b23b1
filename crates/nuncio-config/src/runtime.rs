//! `layered_runtime`: the layers, flattened, and the values they come to.
//!
//! Immutable; static and disk layers are read when the configuration is, the admin layer is for changes at run time
//! ([`Runtime::with_admin`]).

use crate::codes;
use crate::context::CompileCx;
use nuncio_api::envoy::config::bootstrap::v3 as proto;
use nuncio_core::{Fraction, RuntimeUint, RuntimeValue, RuntimeValues};
use prost_types::value::Kind;
use proto::runtime_layer::LayerSpecifier;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// One entry of a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// As the admin endpoint `/runtime` prints it.
    pub text: String,
    /// As request-time code reads it.
    pub read: RuntimeValue,
}

/// One layer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layer {
    /// `name`.
    pub name: String,
    /// Flattened keys: `a.b.c`.
    pub values: BTreeMap<String, Value>,
    /// `admin_layer`: takes the changes of `POST /runtime_modify`.
    pub admin: bool,
}

/// All layers, later ones over earlier ones.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Runtime {
    layers: Vec<Layer>,
}

impl Runtime {
    /// The layers in their order.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The value that counts: that of the last layer which has the key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.layers.iter().rev().find_map(|layer| layer.values.get(key))
    }

    /// All keys with their value per layer (empty where the layer has none) and the one that counts, as `/runtime` shows.
    pub fn entries(&self) -> BTreeMap<&str, (Vec<&str>, &str)> {
        let mut entries: BTreeMap<&str, (Vec<&str>, &str)> = BTreeMap::new();
        for (index, layer) in self.layers.iter().enumerate() {
            for (key, value) in &layer.values {
                let entry = entries.entry(key).or_insert_with(|| (vec![""; self.layers.len()], ""));
                entry.0[index] = &value.text;
                entry.1 = &value.text;
            }
        }
        entries
    }

    /// The same with changes in the admin layer; `None` if there is no admin layer. An empty value removes the key.
    pub fn with_admin(&self, changes: &[(String, String)]) -> Option<Runtime> {
        let mut changed = self.clone();
        let layer = changed.layers.iter_mut().find(|l| l.admin)?;
        for (key, text) in changes {
            if text.is_empty() {
                layer.values.remove(key);
            } else {
                layer.values.insert(key.clone(), Value::of_file(text));
            }
        }
        Some(changed)
    }

    /// The same with what was changed in the admin layer of `old`: such changes outlive a reload.
    pub fn keeping_admin_of(&self, old: &Runtime) -> Runtime {
        let mut kept = self.clone();
        let before = old.layers.iter().find(|l| l.admin);
        if let (Some(layer), Some(before)) = (kept.layers.iter_mut().find(|l| l.admin), before) {
            layer.values = before.values.clone();
        }
        kept
    }

    /// The values that count, for request-time code.
    pub fn values(&self) -> Arc<RuntimeValues> {
        let mut values: BTreeMap<&str, RuntimeValue> = BTreeMap::new();
        for layer in &self.layers {
            values.extend(layer.values.iter().map(|(key, value)| (&**key, value.read)));
        }
        Arc::new(values.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }
}


impl Value {
    /// A text in a static layer.
    fn of_text(text: &str) -> Value {
        let trimmed = text.trim();
        let number = trimmed.parse::<f64>().ok().filter(|number| number.is_finite());
        let flag = match trimmed.to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        };
        Value { text: text.to_owned(), read: RuntimeValue { number, flag, fraction: number.and_then(percent) } }
    }

    /// A text from a file or the admin endpoint: it may be a fraction, too, written as YAML.
    pub fn of_file(text: &str) -> Value {
        let mut value = Value::of_text(text);
        value.read.fraction = value.read.fraction.or_else(|| written_fraction(text));
        value
    }

    fn of_number(number: f64) -> Value {
        Value { text: format!("{number}"), read: RuntimeValue { number: Some(number), flag: None, fraction: percent(number) } }
    }
}

fn percent(number: f64) -> Option<Fraction> {
    // Envoy takes whole percentages; a hundred is enough for everybody.
    (number >= 0.0).then(|| Fraction { numerator: number.min(100.0) as u32, denominator: 100 })
}

/// `{numerator: 5, denominator: MILLION}`, with or without braces and quotes.
fn written_fraction(text: &str) -> Option<Fraction> {
    let inner = text.trim();
    let inner = inner.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(inner);
    let bare = |word: &str| word.trim().trim_matches(['"', '\'']).to_owned();
    let mut fraction = Fraction { numerator: 0, denominator: 100 };
    for pair in inner.split([',', '\n']).filter(|pair| !pair.trim().is_empty()) {
        let (name, value) = pair.split_once(':')?;
        match (bare(name).as_str(), bare(value).as_str()) {
            ("numerator", value) => fraction.numerator = value.parse().ok()?,
            ("denominator", "HUNDRED") => fraction.denominator = 100,
            ("denominator", "TEN_THOUSAND") => fraction.denominator = 10_000,
            ("denominator", "MILLION") => fraction.denominator = 1_000_000,
            _ => return None,
        }
    }
    Some(fraction).filter(|_| !inner.trim().is_empty())
}

/// A number that is asked for at request time.
pub(crate) fn uint32(from: &nuncio_api::envoy::config::core::v3::RuntimeUInt32) -> RuntimeUint {
    let nuncio_api::envoy::config::core::v3::RuntimeUInt32 { default_value, runtime_key } = from;
    RuntimeUint { default: u64::from(*default_value), key: runtime_key.as_str().into() }
}

/// Compiles `layered_runtime`. Without one there is one admin layer, unnamed.
pub fn compile(cx: &mut CompileCx<'_>, from: Option<&proto::LayeredRuntime>) -> Runtime {
    let Some(proto::LayeredRuntime { layers }) = from else { return Runtime::default() };
    let mut names: HashSet<&str> = HashSet::new();
    let mut admins = 0;
    let made = cx.each("layers", layers, |cx, layer| {
        let proto::RuntimeLayer { name, layer_specifier } = layer;
        if !names.insert(name) {
            cx.at("name", |cx| {
                cx.error(codes::DUPLICATE_NAME, format!("a layer before this one is called `{name}`, too"))
                    .envoy(format!("Duplicate layer name: {name}"));
            });
        }
        let mut made = Layer { name: name.clone(), ..Layer::default() };
        match layer_specifier.as_ref()? {
            LayerSpecifier::StaticLayer(values) => cx.at("static_layer", |cx| flatten(cx, &mut made.values, "", values)),
            LayerSpecifier::DiskLayer(disk) => cx.at("disk_layer", |cx| disk_layer(cx, &mut made.values, disk)),
            LayerSpecifier::AdminLayer(proto::runtime_layer::AdminLayer {}) => {
                made.admin = true;
                admins += 1;
                if admins > 1 {
                    cx.at("admin_layer", |cx| {
                        cx.error(codes::CONFLICT, "there is an admin layer already")
                            .envoy("Too many admin layers specified in LayeredRuntime, at most one may be specified");
                    });
                }
            }
            LayerSpecifier::RtdsLayer(_) => {
                cx.without_effect("rtds_layer");
            }
        }
        Some(made)
    });
    Runtime { layers: made }
}

/// Nested objects become dotted keys; an object with a numerator or denominator is a fraction.
fn flatten(cx: &mut CompileCx<'_>, into: &mut BTreeMap<String, Value>, prefix: &str, from: &prost_types::Struct) {
    for (name, value) in &from.fields {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let step = crate::path::Step::Text(name.as_str().into());
        match &value.kind {
            Some(Kind::NumberValue(number)) => drop(into.insert(key, Value::of_number(*number))),
            Some(Kind::StringValue(text)) => drop(into.insert(key, Value::of_text(text))),
            Some(Kind::BoolValue(flag)) => drop(into.insert(key, Value::of_text(if *flag { "true" } else { "false" }))),
            Some(Kind::StructValue(inner)) => match fraction(inner) {
                Some(value) => drop(into.insert(key, value)),
                None => cx.step(step, |cx| flatten(cx, into, &key, inner)),
            },
            Some(Kind::ListValue(_) | Kind::NullValue(_)) | None => cx.step(step, |cx| {
                cx.error(codes::BAD_VALUE, "a runtime value is a number, a text, a boolean or a fraction")
                    .envoy(format!("Invalid runtime entry value for {key}"));
            }),
        }
    }
}

fn fraction(from: &prost_types::Struct) -> Option<Value> {
    let known = |name| from.fields.get(name).and_then(|v| v.kind.as_ref());
    let (numerator, denominator) = (known("numerator"), known("denominator"));
    if numerator.is_none() && denominator.is_none() && !from.fields.is_empty() {
        return None;
    }
    let numerator = match numerator {
        Some(Kind::NumberValue(n)) => *n as u32,
        _ => 0,
    };
    let (name, denominator) = match denominator {
        Some(Kind::StringValue(text)) if text == "TEN_THOUSAND" => ("TEN_THOUSAND", 10_000),
        Some(Kind::StringValue(text)) if text == "MILLION" => ("MILLION", 1_000_000),
        _ => ("HUNDRED", 100),
    };
    let text = format!("{{\"numerator\":{numerator},\"denominator\":\"{name}\"}}");
    Some(Value { text, read: RuntimeValue { fraction: Some(Fraction { numerator, denominator }), ..RuntimeValue::default() } })
}

/// `symlink_root/subdirectory`, one file per value; with `append_service_cluster` in the directory of our cluster.
fn disk_layer(cx: &mut CompileCx<'_>, into: &mut BTreeMap<String, Value>, from: &proto::runtime_layer::DiskLayer) {
    let proto::runtime_layer::DiskLayer { symlink_root, append_service_cluster, subdirectory } = from;
    cx.warn(codes::SUSPICIOUS, "the disk layer is read once; later changes on disk are not followed");
    let mut root = Path::new(symlink_root).join(subdirectory);
    if *append_service_cluster {
        root = root.join(&*cx.identity.cluster);
    }
    // Envoy starts with an empty layer, too, when the directory is missing.
    read_directory(&root, "", into, 0);
}

/// Deeper nesting is a loop of links.
const MAX_DEPTH: usize = 16;

fn read_directory(directory: &Path, prefix: &str, into: &mut BTreeMap<String, Value>, depth: usize) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        let path = entry.path();
        if path.is_dir() && depth < MAX_DEPTH {
            read_directory(&path, &key, into, depth + 1);
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            let lines: Vec<&str> = text.lines().filter(|l| !l.starts_with('#')).collect();
            into.insert(key, Value::of_file(lines.join("\n").trim_end()));
        }
    }
}

impl CompileCx<'_> {
    /// `RuntimeDouble`: the runtime's value, else the default.
    pub fn runtime_double(&self, from: &nuncio_api::envoy::config::core::v3::RuntimeDouble) -> f64 {
        let overridden = self.runtime.get(&from.runtime_key).filter(|_| !from.runtime_key.is_empty());
        overridden.and_then(|v| v.read.number).unwrap_or(from.default_value)
    }

    /// `RuntimeFeatureFlag`: the runtime's value, else the default, else `unset`.
    pub fn runtime_flag(&self, from: Option<&nuncio_api::envoy::config::core::v3::RuntimeFeatureFlag>, unset: bool) -> bool {
        let Some(from) = from else { return unset };
        let overridden = self.runtime.get(&from.runtime_key).filter(|_| !from.runtime_key.is_empty());
        overridden.and_then(|v| v.read.flag).unwrap_or(from.default_value.unwrap_or(unset))
    }
}

/// A runtime that several parts look at.
pub type SharedRuntime = Arc<Runtime>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Mode;
    use nuncio_stats::Store;

    fn text(text: &str) -> prost_types::Value {
        prost_types::Value { kind: Some(Kind::StringValue(text.to_owned())) }
    }
    fn number(n: f64) -> prost_types::Value {
        prost_types::Value { kind: Some(Kind::NumberValue(n)) }
    }
    fn object(fields: Vec<(&str, prost_types::Value)>) -> prost_types::Struct {
        prost_types::Struct { fields: fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect() }
    }
    fn layer(name: &str, fields: Vec<(&str, prost_types::Value)>) -> proto::RuntimeLayer {
        proto::RuntimeLayer { name: name.to_owned(), layer_specifier: Some(LayerSpecifier::StaticLayer(object(fields))) }
    }

    #[test]
    fn later_layers_win_and_nested_keys_are_dotted() {
        let mut cx = CompileCx::new(Mode::default(), Store::new(1), &[]);
        let inner = prost_types::Value { kind: Some(Kind::StructValue(object(vec![("b", number(1.0)), ("c", text("x"))]))) };
        let share = prost_types::Value {
            kind: Some(Kind::StructValue(object(vec![("numerator", number(5.0)), ("denominator", text("MILLION"))]))),
        };
        let layers = vec![layer("one", vec![("a", inner)]), layer("two", vec![("a.b", number(7.0)), ("f", share)])];
        let runtime = compile(&mut cx, Some(&proto::LayeredRuntime { layers }));
        assert!(!cx.has_errors());
        assert_eq!(runtime.get("a.b").and_then(|v| v.read.number), Some(7.0));
        assert_eq!(runtime.entries()["a.b"], (vec!["1", "7"], "7"));
        assert_eq!(runtime.entries()["a.c"], (vec!["x", ""], "x"));
        assert_eq!(runtime.get("f").and_then(|v| v.read.fraction), Some(Fraction { numerator: 5, denominator: 1_000_000 }));
        assert!(runtime.with_admin(&[]).is_none());
    }

    #[test]
    fn changes_of_the_admin_layer_may_be_fractions_and_outlive_a_reload() {
        let mut cx = CompileCx::new(Mode::default(), Store::new(1), &[]);
        let admin = LayerSpecifier::AdminLayer(proto::runtime_layer::AdminLayer {});
        let layers = vec![
            layer("one", vec![("a", text("{numerator: 1}"))]),
            proto::RuntimeLayer { name: "admin".into(), layer_specifier: Some(admin) },
        ];
        let runtime = compile(&mut cx, Some(&proto::LayeredRuntime { layers }));
        let of = |text: &str| {
            let changed = runtime.with_admin(&[("k".into(), text.into())])?;
            runtime.keeping_admin_of(&changed).values().get("k")?.fraction.map(|f| (f.numerator, f.denominator))
        };
        assert_eq!(of("{\"numerator\": 3, \"denominator\": \"TEN_THOUSAND\"}"), Some((3, 10_000)));
        assert_eq!((of("numerator: 4\ndenominator: MILLION"), of("0.5"), of("700")), (Some((4, 1_000_000)), Some((0, 100)), Some((100, 100))));
        assert_eq!([of("true"), of("abc"), of("{}"), of("numerator: x"), of("-1")], [None; 5]);
        assert_eq!(runtime.values().get("a").and_then(|v| v.fraction), None, "a text in a static layer is no fraction");
    }

    #[test]
    fn a_layers_name_is_used_once_and_its_values_are_no_lists() {
        let mut cx = CompileCx::new(Mode::default(), Store::new(1), &[]);
        let list = prost_types::Value { kind: Some(Kind::ListValue(prost_types::ListValue::default())) };
        let layers = vec![layer("one", vec![("foo", list)]), layer("one", vec![])];
        compile(&mut cx, Some(&proto::LayeredRuntime { layers }));
        let said: Vec<&str> = cx.findings().iter().map(|f| f.envoy.as_str()).collect();
        assert_eq!(said, ["Invalid runtime entry value for foo", "Duplicate layer name: one"]);
        assert_eq!(cx.findings()[1].path, "layers[1].name");
    }
}

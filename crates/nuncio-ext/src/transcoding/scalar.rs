//! Scalars of JSON as fields' values. What does not fit is told by the value as Envoy tells it.

use super::{descriptors::Enum, json::Json, print};
use base64::{
    Engine,
    alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

impl Json {
    /// The value in a message for people.
    pub(super) fn told(&self) -> String {
        match self {
            Json::Null => "null".to_owned(),
            Json::Bool(value) => value.to_string(),
            Json::Int(value) => value.to_string(),
            Json::Uint(value) => value.to_string(),
            Json::Double(value) => print::double(*value),
            Json::Text(value) => format!("\"{value}\""),
            Json::List(_) | Json::Object(_) => String::new(),
        }
    }

    /// A whole number between two bounds.
    pub(super) fn whole(&self, least: i128, most: i128) -> Result<i128, String> {
        let value = match self {
            Json::Int(value) => Some(i128::from(*value)),
            Json::Uint(value) => Some(i128::from(*value)),
            Json::Double(value) => (value.fract() == 0.0 && value.abs() < 1e30).then_some(*value as i128),
            Json::Text(text) => integer(text),
            _ => None,
        };
        let fits = |value: &i128| (least..=most).contains(value) && !(least == 0 && matches!(self, Json::Text(text) if text.trim().starts_with('-')));
        value.filter(fits).ok_or_else(|| self.told())
    }

    pub(super) fn i32(&self) -> Result<i32, String> {
        self.whole(i128::from(i32::MIN), i128::from(i32::MAX)).map(|value| value as i32)
    }

    pub(super) fn double(&self) -> Result<f64, String> {
        match self {
            Json::Int(value) => Ok(*value as f64),
            Json::Uint(value) => Ok(*value as f64),
            Json::Double(value) => Ok(*value),
            Json::Text(text) => named(text).or_else(|| floating(text)).ok_or_else(|| self.told()),
            _ => Err(self.told()),
        }
    }

    pub(super) fn float(&self) -> Result<f32, String> {
        let wide = match self {
            Json::Int(value) => return Ok(*value as f32),
            Json::Uint(value) => return Ok(*value as f32),
            Json::Text(text) => match named(text) {
                Some(value) => return Ok(value as f32),
                None => floating(text),
            },
            Json::Double(value) => Some(*value),
            _ => None,
        };
        // What would be rounded down to the greatest number there is, fits.
        let fits = |value: &f64| (value.abs() * 0.5) as f32 <= f32::MAX * 0.5;
        wide.filter(fits).map(|value| (value as f32).clamp(f32::MIN, f32::MAX)).ok_or_else(|| self.told())
    }

    pub(super) fn truth(&self) -> Result<bool, String> {
        let value = match self {
            Json::Bool(value) => Some(*value),
            Json::Text(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "t" | "yes" | "y" | "1" => Some(true),
                "false" | "f" | "no" | "n" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        };
        value.ok_or_else(|| self.told())
    }

    pub(super) fn text(&self) -> Result<&str, String> {
        match self {
            Json::Text(text) => Ok(text),
            _ => Err(self.told()),
        }
    }

    pub(super) fn bytes(&self) -> Result<Vec<u8>, String> {
        self.text().ok().and_then(unbase64).ok_or_else(|| self.told())
    }

    /// The number of an enumeration's value; `fold` ignores the case of names.
    pub(super) fn enumeration(&self, of: &Enum, fold: bool) -> Result<i32, String> {
        let Json::Text(text) = self else { return self.i32() };
        let number = || self.i32().ok().filter(|number| of.value(*number).is_some());
        let folded = || of.number(&text.to_ascii_uppercase().replace('-', "_")).filter(|_| fold);
        of.number(text).or_else(number).or_else(folded).ok_or_else(|| self.told())
    }
}

/// A number in a string, without spaces around it.
fn bare(text: &str) -> Option<&str> {
    (!text.starts_with(' ') && !text.ends_with(' ')).then_some(text.trim_ascii())
}

fn integer(text: &str) -> Option<i128> {
    let text = bare(text)?;
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.len() > 30 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn named(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn floating(text: &str) -> Option<f64> {
    bare(text)?.parse().ok().filter(|value: &f64| value.is_finite())
}

/// Base64 of either alphabet, with or without padding, spaces ignored.
fn unbase64(text: &str) -> Option<Vec<u8>> {
    const LAX: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true).with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LAX);
    const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LAX);
    let dense: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    URL_SAFE.decode(&dense).or_else(|_| STANDARD.decode(&dense)).ok()
}

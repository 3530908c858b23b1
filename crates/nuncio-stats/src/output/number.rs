//! Floating point numbers in the four spellings that Envoy's outputs mix.
//!
//! All are decimal, without a locale. NaN is `nan` everywhere but in JSON, where the writer prints `null`.

use std::fmt;

/// The shortest digits that read back as the same number, in positional notation unless the exponent is below −4 or at
/// least 16: `{}` of C++'s format library. Quantiles in text.
pub struct Shortest(pub f64);

/// The shortest spelling of all, positional or scientific, as C++'s `to_chars`. Numbers in JSON.
pub struct Compact(pub f64);

/// Six significant digits, as printf's `%g`. Bucket borders in text.
pub struct Short(pub f64);

/// Thirty-two significant digits, as printf's `%.32g`. Numbers in the Prometheus form.
pub struct Exact(pub f64);

/// Significant decimal digits and the exponent of the first: `[1, 2, 5]`, −1 is 0.125.
fn digits(scientific: &str) -> (String, i32) {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    (
        mantissa.chars().filter(char::is_ascii_digit).collect(),
        exponent.parse().unwrap_or(0),
    )
}

fn positional(digits: &str, exponent: i32) -> String {
    let len = digits.len() as i32;
    if exponent < 0 {
        format!("0.{}{digits}", "0".repeat((-exponent - 1) as usize))
    } else if exponent + 1 >= len {
        format!("{digits}{}", "0".repeat((exponent + 1 - len) as usize))
    } else {
        let (whole, fraction) = digits.split_at((exponent + 1) as usize);
        format!("{whole}.{fraction}")
    }
}

fn scientific(digits: &str, exponent: i32) -> String {
    let (first, rest) = digits.split_at(1.min(digits.len()));
    let dot = if rest.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{first}{dot}{rest}e{sign}{:02}", exponent.abs())
}

/// Writes what is no ordinary number, and the sign of what is one.
fn special(value: f64, f: &mut fmt::Formatter<'_>) -> Result<bool, fmt::Error> {
    if value.is_nan() {
        f.write_str("nan")?;
        return Ok(true);
    }
    if value.is_sign_negative() && value != 0.0 {
        f.write_str("-")?;
    }
    if value.is_infinite() {
        f.write_str("inf")?;
    } else if value == 0.0 {
        f.write_str("0")?;
    }
    Ok(value.is_infinite() || value == 0.0)
}

/// printf's `%.{precision}g`.
fn general(value: f64, precision: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if special(value, f)? {
        return Ok(());
    }
    let (digits, exponent) = digits(&format!("{:.*e}", precision - 1, value.abs()));
    let digits = digits.trim_end_matches('0');
    let small = exponent < -4 || exponent >= precision as i32;
    f.write_str(&if small {
        scientific(digits, exponent)
    } else {
        positional(digits, exponent)
    })
}

impl fmt::Display for Shortest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if special(self.0, f)? {
            return Ok(());
        }
        let (digits, exponent) = digits(&format!("{:e}", self.0.abs()));
        let wide = !(-4..16).contains(&exponent);
        f.write_str(&if wide {
            scientific(&digits, exponent)
        } else {
            positional(&digits, exponent)
        })
    }
}

impl fmt::Display for Compact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if special(self.0, f)? {
            return Ok(());
        }
        let (digits, exponent) = digits(&format!("{:e}", self.0.abs()));
        let (plain, power) = (positional(&digits, exponent), scientific(&digits, exponent));
        f.write_str(if power.len() < plain.len() {
            &power
        } else {
            &plain
        })
    }
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        general(self.0, 6, f)
    }
}

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        general(self.0, 32, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_spelling_is_the_one_envoy_printed() {
        assert_eq!(
            Shortest(1.0533333333333332).to_string(),
            "1.0533333333333332"
        );
        assert_eq!(
            Shortest(111.00000000000001).to_string(),
            "111.00000000000001"
        );
        assert_eq!(Shortest(1.85e19).to_string(), "1.85e+19");
        assert_eq!(Shortest(0.0).to_string(), "0");
        assert_eq!(Shortest(f64::NAN).to_string(), "nan");
        assert_eq!(Compact(300000.0).to_string(), "3e+05");
        assert_eq!(Compact(1800000.0).to_string(), "1800000");
        assert_eq!(Compact(30000.0).to_string(), "30000");
        assert_eq!(Compact(0.5).to_string(), "0.5");
        assert_eq!(Short(1800000.0).to_string(), "1.8e+06");
        assert_eq!(Short(600000.0).to_string(), "600000");
        assert_eq!(
            Exact(45.445544554455445).to_string(),
            "45.445544554455445052099094027653"
        );
        assert_eq!(
            Exact(2_063_761.913_718_020_5).to_string(),
            "2063761.9137180205434560775756836"
        );
        assert_eq!(Exact(3600000.0).to_string(), "3600000");
        assert_eq!(
            Exact(0.001).to_string(),
            "0.0010000000000000000208166817117217"
        );
        assert_eq!(Exact(-2.5).to_string(), "-2.5");
        assert_eq!(Shortest(0.00001).to_string(), "1e-05");
    }

    #[test]
    fn whatever_is_written_reads_back() {
        let mut bits = 0x1234_5678_9abc_def0u64;
        for _ in 0..2000 {
            bits = bits
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let value = f64::from_bits(bits);
            if value.is_finite() {
                assert_eq!(Shortest(value).to_string().parse(), Ok(value));
                assert_eq!(Compact(value).to_string().parse(), Ok(value));
                assert_eq!(Exact(value).to_string().parse(), Ok(value));
            }
        }
    }
}

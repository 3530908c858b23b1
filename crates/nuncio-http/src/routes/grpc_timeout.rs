//! `grpc-timeout`: how long a gRPC client is willing to wait.

use nuncio_codec::headers::HeaderMap;
use std::time::Duration;

const NAME: &str = "grpc-timeout";
/// The largest number the header may have: eight digits.
const LARGEST: u64 = 99_999_999;

/// The time in the header, at least in milliseconds (parts of one round up); `None` if it is missing or malformed.
pub(crate) fn grpc_timeout(head: &HeaderMap) -> Option<Duration> {
    let value = head.get_str(NAME)?;
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = value.split_at_checked(digits)?;
    if digits == 0 || digits > 8 {
        return None;
    }
    let n: u64 = number.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(n * 3600),
        "M" => Duration::from_secs(n * 60),
        "S" => Duration::from_secs(n),
        "m" => Duration::from_millis(n),
        "u" => Duration::from_millis(n.div_ceil(1000)),
        "n" => Duration::from_millis(n.div_ceil(1_000_000)),
        _ => return None,
    })
}

/// Writes the header, in the finest unit that holds `ms` milliseconds.
pub(crate) fn set_grpc_timeout(head: &mut HeaderMap, ms: u64) {
    let mut number = ms;
    let mut unit = b'm';
    for (coarser, of) in [(b'S', 1000), (b'M', 60), (b'H', 60)] {
        if number > LARGEST {
            number /= of;
            unit = coarser;
        }
    }
    head.set_with(NAME, |v| {
        v.decimal(number.min(LARGEST));
        v.push(unit);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read() {
        let read = |value: &str| {
            let mut head = HeaderMap::default();
            head.insert(NAME, value);
            grpc_timeout(&head).map(|time| time.as_millis())
        };
        assert_eq!(read("2H"), Some(7_200_000));
        assert_eq!(read("3M"), Some(180_000));
        assert_eq!(read("5S"), Some(5000));
        assert_eq!(read("7m"), Some(7));
        assert_eq!((read("1u"), read("1n")), (Some(1), Some(1)));
        assert_eq!((read("123456789m"), read("m"), read("5"), read("5x")), (None, None, None, None));
    }

    #[test]
    fn large_times_are_written_in_larger_units() {
        let written = |ms| {
            let mut head = HeaderMap::default();
            set_grpc_timeout(&mut head, ms);
            head.get_str(NAME).unwrap_or_default().to_owned()
        };
        assert_eq!(written(1500), "1500m");
        assert_eq!(written(100_000_000), "100000S");
        assert_eq!(written(99_999_999_000 + 1000), "1666666M");
    }
}

//! A load report as a message: the fields that are doubles, and the maps of them. Others are passed over.

use super::LoadReport;

/// A value on the wire.
enum Value<'a> {
    Fixed64(u64),
    Bytes(&'a [u8]),
    Other,
}

/// Reads `xds.data.orca.v3.OrcaLoadReport`.
pub(super) fn read(bytes: &[u8]) -> Option<LoadReport> {
    let (mut report, mut rest) = (LoadReport::default(), bytes);
    while !rest.is_empty() {
        let (number, value) = field(&mut rest)?;
        match (number, value) {
            (1, Value::Fixed64(bits)) => report.set("cpu_utilization", f64::from_bits(bits)),
            (2, Value::Fixed64(bits)) => report.set("mem_utilization", f64::from_bits(bits)),
            (6, Value::Fixed64(bits)) => report.set("rps_fractional", f64::from_bits(bits)),
            (7, Value::Fixed64(bits)) => report.set("eps", f64::from_bits(bits)),
            (9, Value::Fixed64(bits)) => report.set("application_utilization", f64::from_bits(bits)),
            (4, Value::Bytes(of)) => entry(&mut report, "request_cost", of)?,
            (5, Value::Bytes(of)) => entry(&mut report, "utilization", of)?,
            (8, Value::Bytes(of)) => entry(&mut report, "named_metrics", of)?,
            _ => {}
        }
    }
    Some(report)
}

fn entry(report: &mut LoadReport, map: &str, mut rest: &[u8]) -> Option<()> {
    let (mut key, mut number) = ("", 0.0);
    while !rest.is_empty() {
        match field(&mut rest)? {
            (1, Value::Bytes(bytes)) => key = std::str::from_utf8(bytes).ok()?,
            (2, Value::Fixed64(bits)) => number = f64::from_bits(bits),
            _ => {}
        }
    }
    report.set(&format!("{map}.{key}"), number);
    Some(())
}

fn field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let tag = varint(rest)?;
    let value = match tag & 7 {
        0 => {
            varint(rest)?;
            Value::Other
        }
        1 => Value::Fixed64(u64::from_le_bytes(*rest.split_off(..8)?.first_chunk()?)),
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            Value::Bytes(rest.split_off(..length)?)
        }
        5 => {
            rest.split_off(..4)?;
            Value::Other
        }
        _ => return None,
    };
    Some((tag >> 3, value))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *rest.split_off_first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

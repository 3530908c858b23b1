//! A load report as it comes in a header (`xds.data.orca.v3.OrcaLoadReport`).
//!
//! `endpoint-load-metrics-bin` has the message in base64. `endpoint-load-metrics` says its form first: `BIN`, `JSON`, or
//! `TEXT` with `name=value` pairs. What Envoy does not take makes no report: unknown, repeated or negative metrics in a
//! text, a binary header that is not whole (whatever the other header has).

use super::{OrcaConfig, json, wire};
use base64::{
    Engine,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use nuncio_codec::headers::HeaderMap;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a host says about its load. Metrics that it does not give are 0.
#[derive(Debug, Default, PartialEq)]
pub struct LoadReport {
    /// By full name, as metrics are configured: `cpu_utilization`, `named_metrics.x`.
    metrics: Vec<(Box<str>, f64)>,
}

/// Metrics that are one number.
const SINGLE: [&str; 5] = ["cpu_utilization", "mem_utilization", "application_utilization", "rps_fractional", "eps"];

impl LoadReport {
    /// The report in these headers or trailers, if there is one that can be read.
    pub fn of(headers: &HeaderMap) -> Option<LoadReport> {
        if let Some(binary) = headers.get_bytes(b"endpoint-load-metrics-bin") {
            return LoadReport::from_binary(binary);
        }
        let text = std::str::from_utf8(headers.get_bytes(b"endpoint-load-metrics")?).ok()?;
        let (form, rest) = text.split_once(' ')?;
        match form {
            "BIN" => LoadReport::from_binary(rest.as_bytes()),
            "JSON" => json::read(rest),
            "TEXT" => LoadReport::from_text(rest),
            _ => None,
        }
    }

    fn from_binary(base64: &[u8]) -> Option<LoadReport> {
        let bytes = BASE64.decode(base64).ok().filter(|bytes| !bytes.is_empty())?;
        wire::read(&bytes)
    }

    /// The report in a message.
    pub(super) fn from_message(bytes: &[u8]) -> Option<LoadReport> {
        wire::read(bytes)
    }

    fn from_text(text: &str) -> Option<LoadReport> {
        let mut report = LoadReport::default();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once(['=', ':'])?;
            let of_many = || ["utilization.", "named_metrics."].iter().any(|of| name.strip_prefix(of).is_some_and(|name| !name.is_empty()));
            let value: f64 = value.trim().parse().ok()?;
            let repeated = report.metrics.iter().any(|(known, _)| **known == *name);
            if repeated || !value.is_finite() || value < 0.0 || !(SINGLE.contains(&name) || of_many()) {
                return None;
            }
            report.set(name, value);
        }
        Some(report)
    }

    /// Sets a metric, again if it is there already.
    pub(super) fn set(&mut self, name: &str, value: f64) {
        match self.metrics.iter_mut().find(|(known, _)| **known == *name) {
            Some((_, known)) => *known = value,
            None => self.metrics.push((name.into(), value)),
        }
    }

    fn get(&self, name: &str) -> f64 {
        self.metrics.iter().find(|(known, _)| **known == *name).map_or(0.0, |(_, value)| *value)
    }

    /// The greatest of the metrics with these names, of which `map.*` means all of a map.
    fn greatest(&self, names: &[String]) -> f64 {
        let wanted = |metric: &str, name: &str| match name.strip_suffix('*') {
            Some(map) => map.ends_with('.') && metric.starts_with(map),
            None => metric == name,
        };
        let of = self.metrics.iter().filter(|(metric, _)| names.iter().any(|name| wanted(metric, name)));
        of.map(|(_, value)| *value).fold(0.0, f64::max)
    }

    /// The weight of the host that gave it: queries per second at full use. `None` without queries, or without use.
    pub(super) fn weight(&self, config: &OrcaConfig) -> Option<u32> {
        let rate = self.get("rps_fractional");
        let sources = [self.greatest(&config.metrics), self.get("application_utilization")];
        let utilization = sources.into_iter().find(|u| *u > 0.0).unwrap_or_else(|| self.get("cpu_utilization"));
        if rate.is_nan() || rate <= 0.0 {
            return None;
        }
        let utilization = utilization + config.error_penalty * self.get("eps") / rate;
        // Whole weights, and no greater than there can be.
        (utilization > 0.0).then(|| (rate / utilization) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight_of(name: &str, value: &str, config: &OrcaConfig) -> Option<u32> {
        let mut headers = HeaderMap::new();
        headers.insert(nuncio_codec::headers::HeaderName::new(name).expect("a name"), value);
        LoadReport::of(&headers)?.weight(config)
    }

    fn of_text(value: &str) -> Option<u32> {
        weight_of("endpoint-load-metrics", value, &OrcaConfig::default())
    }

    #[test]
    fn texts_are_read_as_strictly_as_envoy_reads_them() {
        for good in [
            "TEXT application_utilization=0.5,rps_fractional=1000",
            "TEXT  cpu_utilization=0.5, rps_fractional= 1000",
            "TEXT cpu_utilization:0.5,rps_fractional:1000",
            "TEXT cpu_utilization=5e-1,,rps_fractional=1e3,",
            "TEXT cpu_utilization=+0.5,mem_utilization=2.5,rps_fractional=1000",
            "TEXT application_utilization=0.5,utilization.a=1.5,named_metrics.b=7,rps_fractional=1000",
        ] {
            assert_eq!(of_text(good), Some(2000), "{good}");
        }
        for bad in [
            "cpu_utilization=0.25,rps_fractional=1000",
            "text cpu_utilization=0.25,rps_fractional=1000",
            "TEXT cpu_utilization =0.5,rps_fractional=1000",
            "TEXT cpu_utilization=0.5=1,rps_fractional=1000",
            "TEXT cpu_utilization=0.5,foo=1,rps_fractional=1000",
            "TEXT cpu_utilization=0.5,rps=5,rps_fractional=1000",
            "TEXT cpu_utilization=0.5,request_cost.a=1,rps_fractional=1000",
            "TEXT cpu_utilization=0.5,named_metrics.=1,rps_fractional=1000",
            "TEXT cpu_utilization=0.5,cpu_utilization=0.5,rps_fractional=1000",
            "TEXT cpu_utilization=0.5,named_metrics.a=-1,rps_fractional=1000",
            "TEXT cpu_utilization=0.5,named_metrics.a=nan,rps_fractional=1000",
            "TEXT cpu_utilization=0.5,rps_fractional=inf",
            "TEXT cpu_utilization=,rps_fractional=1000",
            "TEXT cpu_utilization=0.5",
            "TEXT rps_fractional=1000",
        ] {
            assert_eq!(of_text(bad), None, "{bad}");
        }
    }

    #[test]
    fn named_metrics_go_before_the_applications_word_and_that_before_the_processors() {
        let weight = |names: &[&str], text: &str| {
            let config = OrcaConfig { metrics: names.iter().map(|&n| n.to_owned()).collect(), ..OrcaConfig::default() };
            weight_of("endpoint-load-metrics", text, &config)
        };
        let text = "TEXT application_utilization=0.5,cpu_utilization=0.25,named_metrics.a=0.1,named_metrics.b=0.2,rps_fractional=1000";
        assert_eq!(weight(&[], text), Some(2000));
        assert_eq!(weight(&["named_metrics.a"], text), Some(10_000));
        assert_eq!(weight(&["named_metrics.*"], text), Some(5000));
        assert_eq!(weight(&["cpu_utilization", "named_metrics.a"], text), Some(4000));
        assert_eq!(weight(&["*"], text), Some(2000));
        assert_eq!(weight(&["named_metrics.c"], text), Some(2000));
    }

    #[test]
    fn errors_cost_as_much_as_is_configured() {
        let text = "TEXT cpu_utilization=0.5,eps=100,rps_fractional=1000";
        assert_eq!(of_text(text), Some(2000));
        let config = OrcaConfig { error_penalty: 2.0, ..OrcaConfig::default() };
        assert_eq!(weight_of("endpoint-load-metrics", text, &config), Some(1428));
        assert_eq!(of_text("TEXT cpu_utilization=0.000001,rps_fractional=1000000"), Some(u32::MAX));
        assert_eq!(of_text("TEXT cpu_utilization=1,rps_fractional=0.9"), Some(0));
    }

    #[test]
    fn json_and_binary_say_the_same() {
        for json in [
            r#"JSON {"cpu_utilization":0.25,"rps_fractional":1000}"#,
            r#"JSON {"cpuUtilization":"0.25", "rpsFractional":1e3, "namedMetrics": {"a": 0.1}}"#,
            r#"JSON {"cpuUtilization":0.25,"rpsFractional":1000,"namedMetrics":{"a":-1},"requestCost":{}}"#,
        ] {
            assert_eq!(of_text(json), Some(4000), "{json}");
        }
        for bad in [r#"JSON {"cpuUtilization":0.25,"rpsFractional":1000,"x":1}"#, r#"JSON {"cpuUtilization":0.25"#, "JSON 1", "JSON {} x"] {
            assert_eq!(of_text(bad), None, "{bad}");
        }
        let double = |tag: u8, v: f64| [&[tag << 3 | 1][..], &v.to_le_bytes()].concat();
        let named = [&[0x42, 12, 0x0a, 1, b'a'][..], &double(2, 0.1)].concat();
        let bytes = [double(1, 0.25), double(6, 1000.0), named].concat();
        let binary = BASE64.encode(&bytes);
        for value in [&*binary, binary.trim_end_matches('=')] {
            assert_eq!(weight_of("endpoint-load-metrics-bin", value, &OrcaConfig::default()), Some(4000));
            assert_eq!(of_text(&format!("BIN {value}")), Some(4000));
        }
        let config = OrcaConfig { metrics: vec!["named_metrics.a".into()], ..OrcaConfig::default() };
        assert_eq!(weight_of("endpoint-load-metrics-bin", &binary, &config), Some(10_000));
        assert_eq!(of_text(&format!("BIN  {binary}")), None);
        assert_eq!(of_text(&format!("BIN {}", BASE64.encode(&bytes[..bytes.len() - 1]))), None);
        assert_eq!(weight_of("endpoint-load-metrics-bin", "!!!", &config), None);
    }
}

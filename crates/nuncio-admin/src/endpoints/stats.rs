//! `/stats`: statistics as text, JSON, a page, or in the Prometheus form.

use super::{Choice, Endpoint, Param, stats_html, stats_prometheus};
use crate::context::{AdminContext, Search};
use crate::request::{AdminRequest, Params};
use crate::response::{AdminResponse, JSON};
use nuncio_stats::output::{BucketMode, write_json, write_text};
use nuncio_stats::{Select, Snapshot, StatType};

pub(super) const USED_ONLY: Param = Param {
    name: "usedonly",
    help: "Only include stats that have been written by system since restart",
    choice: Choice::Flag,
};
pub(super) const FILTER: Param = Param {
    name: "filter",
    help: "Regular expression (Google re2) for filtering stats",
    choice: Choice::Text,
};
pub(super) const INVERT_FILTER: Param = Param {
    name: "invert_filter",
    help: "Invert the filter regex",
    choice: Choice::Flag,
};

pub(super) const STATS: Endpoint = Endpoint {
    path: "/stats",
    help: "print server stats",
    command: false,
    params: &[
        USED_ONLY,
        FILTER,
        INVERT_FILTER,
        Param {
            name: "format",
            help: "Format to use",
            choice: Choice::OneOf(&["html", "active-html", "text", "json"]),
        },
        Param {
            name: "type",
            help: "Stat types to include.",
            choice: Choice::OneOf(&["All", "Counters", "Histograms", "Gauges", "TextReadouts"]),
        },
        Param {
            name: "histogram_buckets",
            help: "Histogram bucket display mode",
            choice: Choice::OneOf(&["cumulative", "disjoint", "detailed", "summary"]),
        },
    ],
    answer,
};

/// What the parameters of `/stats` ask for.
pub(super) struct Wanted {
    used_only: bool,
    filter: Option<Search>,
    invert: bool,
    only: Option<StatType>,
    pub(super) buckets: Buckets,
    pub(super) format: Format,
    /// `hidden=only`: there is no hidden statistic.
    nothing: bool,
}

/// How to show histograms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Buckets {
    /// One of the ways that every form knows.
    Mode(BucketMode),
    /// Prometheus's native histograms, which only its protobuf form can carry.
    Native,
}

/// How to show everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Json,
    Html,
    ActiveHtml,
    Prometheus,
}

impl Wanted {
    /// Reads the parameters; the answer that refuses them where they are wrong.
    pub(super) fn parse(params: &Params, cx: &dyn AdminContext) -> Result<Wanted, AdminResponse> {
        let refuse = |why: &str| AdminResponse::error(400, why);
        let filter = params
            .filled("filter")
            .map(|filter| cx.regex(filter))
            .transpose();
        let filter = filter.map_err(|why| refuse(&format!("Invalid re2 regex: {why}")))?;
        let buckets = match params.get("histogram_buckets").unwrap_or("") {
            "" => Buckets::Mode(BucketMode::Unset),
            "none" | "summary" => Buckets::Mode(BucketMode::Summary),
            "cumulative" => Buckets::Mode(BucketMode::Cumulative),
            "disjoint" => Buckets::Mode(BucketMode::Disjoint),
            "detailed" => Buckets::Mode(BucketMode::Detailed),
            "prometheusnative" => Buckets::Native,
            _ => return Err(refuse(&usage("histogram_buckets", BUCKETS, "\n"))),
        };
        let only = match params.get("type").unwrap_or("") {
            "" | "All" => None,
            "Counters" => Some(StatType::Counters),
            "Gauges" => Some(StatType::Gauges),
            "Histograms" => Some(StatType::Histograms),
            "TextReadouts" => Some(StatType::TextReadouts),
            _ => return Err(refuse("invalid &type= param")),
        };
        let format = match params.get("format").unwrap_or("") {
            "" | "text" => Format::Text,
            "json" => Format::Json,
            "html" => Format::Html,
            "active-html" => Format::ActiveHtml,
            "prometheus" => Format::Prometheus,
            _ => return Err(refuse(&usage("format", FORMATS, "\n\n"))),
        };
        let nothing = match params.get("hidden").unwrap_or("") {
            "" | "include" | "exclude" => false,
            "only" => true,
            _ => return Err(refuse(&usage("hidden", "include|only|exclude", "\n\n"))),
        };
        let (used_only, invert) = (params.has("usedonly"), params.has("invert_filter"));
        Ok(Wanted {
            used_only,
            filter,
            invert,
            only,
            buckets,
            format,
            nothing,
        })
    }

    /// The same, whatever `type` says: the Prometheus form knows no types.
    pub(super) fn every_type(self) -> Wanted {
        Wanted { only: None, ..self }
    }

    /// The statistics that are wanted, as they are now.
    pub(super) fn snapshot(&self, cx: &dyn AdminContext) -> Snapshot {
        if self.nothing {
            return Snapshot::default();
        }
        cx.refresh_stats();
        let rules = cx.stats_output();
        let chosen = |name: &str| {
            let matches = self
                .filter
                .as_ref()
                .is_none_or(|filter| filter(name) != self.invert);
            matches && rules.accepts(name)
        };
        let all = self.filter.is_none() && rules.accepts.is_none();
        let names = (!all).then_some(&chosen as &dyn Fn(&str) -> bool);
        let select = Select {
            used_only: self.used_only,
            only: self.only,
            names,
        };
        let mut snapshot = Snapshot::take(cx.stats(), &select);
        let hosts = cx.endpoint_stats();
        if !hosts.is_empty() {
            // Which statistics there are does not concern those of hosts.
            let matches = |name: &str| {
                let filter = self.filter.as_ref();
                filter.is_none_or(|filter| filter(name) != self.invert)
            };
            let names = Some(&matches as &dyn Fn(&str) -> bool);
            snapshot.add_endpoints(hosts, &Select { names, ..select });
        }
        snapshot
    }
}

const BUCKETS: &str = "cumulative|disjoint|detailed|summary|prometheusnative";
const FORMATS: &str = "html|active-html|json|prometheus|text";

fn usage(param: &str, choices: &str, end: &str) -> String {
    format!("usage: /stats?{param}=({choices}){end}")
}

fn answer(request: &AdminRequest, cx: &dyn AdminContext) -> AdminResponse {
    let wanted = match Wanted::parse(&request.params, cx) {
        Ok(wanted) => wanted,
        Err(refusal) => return refusal,
    };
    if wanted.format == Format::Prometheus {
        return stats_prometheus::answer_wanted(request, cx, &wanted.every_type(), false);
    }
    let Buckets::Mode(mode) = wanted.buckets else {
        return AdminResponse::error(
            400,
            "Invalid histogram_buckets type for non prometheus stats type",
        );
    };
    let (snapshot, rules, mut out) = (wanted.snapshot(cx), cx.stats_output(), String::new());
    // Writing to a String cannot fail.
    if wanted.format == Format::Json {
        let _ = write_json(&mut out, &snapshot, rules, mode);
        return AdminResponse::text(out).with_type(JSON);
    }
    let _ = write_text(&mut out, &snapshot, rules, mode);
    match wanted.format {
        Format::Html => stats_html::page(&out, false),
        Format::ActiveHtml => stats_html::page(&out, true),
        _ => AdminResponse::text(out),
    }
}

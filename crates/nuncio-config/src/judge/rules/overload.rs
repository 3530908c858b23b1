//! The overload manager's resources, triggers and actions.

use crate::codes;
use crate::context::CompileCx;
use nuncio_api::envoy::config::overload::v3::{OverloadManager, trigger::TriggerOneof};
use std::collections::HashSet;

pub(super) fn check(cx: &mut CompileCx<'_>, manager: &OverloadManager) {
    let mut resources: HashSet<&str> = HashSet::new();
    for (index, monitor) in manager.resource_monitors.iter().enumerate() {
        if !resources.insert(&monitor.name) {
            duplicate(cx, "resource_monitors", index, &monitor.name, "resource monitor");
        }
    }
    let mut actions: HashSet<&str> = HashSet::new();
    for (index, action) in manager.actions.iter().enumerate() {
        if !actions.insert(&action.name) {
            duplicate(cx, "actions", index, &action.name, "overload action");
        }
        if !ACTIONS.contains(&action.name.as_str()) {
            unknown_action(cx, index, &action.name);
        }
        let mut triggers: HashSet<&str> = HashSet::new();
        for (at, trigger) in action.triggers.iter().enumerate() {
            cx.item("actions", index, |cx| {
                if !resources.contains(trigger.name.as_str()) {
                    unknown(cx, at, &trigger.name, &action.name);
                }
                if !triggers.insert(&trigger.name) {
                    duplicate(cx, "triggers", at, &trigger.name, "trigger resource for overload action");
                }
                let TriggerRange { from, to } = TriggerRange::of(trigger.trigger_oneof.as_ref());
                if from >= to {
                    cx.item("triggers", at, |cx| {
                        cx.error(codes::CONFLICT, "scaling_threshold must be less than saturation_threshold")
                            .envoy("scaling_threshold must be less than saturation_threshold");
                    });
                }
            });
        }
    }
}

/// What Envoy can do when it is overloaded.
const ACTIONS: [&str; 7] = [
    "envoy.overload_actions.stop_accepting_requests",
    "envoy.overload_actions.disable_http_keepalive",
    "envoy.overload_actions.stop_accepting_connections",
    "envoy.overload_actions.reject_incoming_connections",
    "envoy.overload_actions.shrink_heap",
    "envoy.overload_actions.reduce_timeouts",
    "envoy.overload_actions.reset_high_memory_stream",
];

fn unknown_action(cx: &mut CompileCx<'_>, index: usize, name: &str) {
    cx.item("actions", index, |cx| {
        cx.at("name", |cx| {
            let finding = cx.error(codes::MISSING, format!("there is no overload action `{name}`"));
            finding.envoy(format!("Unknown Overload Manager Action {name}"));
            if let Some(near) = crate::nearest(name, ACTIONS.into_iter()) {
                finding.help(format!("did you mean `{near}`?"));
            }
        });
    });
}

/// From where an action begins to where it is complete.
struct TriggerRange {
    from: f64,
    to: f64,
}

impl TriggerRange {
    /// A trigger that is not scaled has no range to be wrong.
    fn of(trigger: Option<&TriggerOneof>) -> TriggerRange {
        match trigger {
            Some(TriggerOneof::Scaled(scaled)) => TriggerRange { from: scaled.scaling_threshold, to: scaled.saturation_threshold },
            _ => TriggerRange { from: 0.0, to: 1.0 },
        }
    }
}

fn unknown(cx: &mut CompileCx<'_>, at: usize, name: &str, action: &str) {
    cx.item("triggers", at, |cx| {
        cx.at("name", |cx| {
            cx.error(codes::MISSING, format!("there is no resource monitor `{name}`"))
                .envoy(format!("Unknown trigger resource {name} for overload action {action}"));
        });
    });
}

fn duplicate(cx: &mut CompileCx<'_>, field: &'static str, index: usize, name: &str, what: &str) {
    cx.item(field, index, |cx| {
        cx.at("name", |cx| {
            cx.error(codes::DUPLICATE_NAME, format!("`{name}` stands here before")).envoy(format!("Duplicate {what} {name}"));
        });
    });
}

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
        let mut triggers: HashSet<&str> = HashSet::new();
        for (at, trigger) in action.triggers.iter().enumerate() {
            cx.item("actions", index, |cx| {
                if !resources.contains(trigger.name.as_str()) {
                    unknown(cx, at, &trigger.name, &action.name);
                }
                if !triggers.insert(&trigger.name) {
                    duplicate(cx, "triggers", at, &trigger.name, "trigger resource for overload action");
                }
                if let Some(TriggerOneof::Scaled(scaled)) = &trigger.trigger_oneof {
                    if scaled.scaling_threshold >= scaled.saturation_threshold {
                        cx.item("triggers", at, |cx| {
                            cx.error(codes::CONFLICT, "scaling_threshold must be less than saturation_threshold")
                                .envoy("scaling_threshold must be less than saturation_threshold");
                        });
                    }
                }
            });
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

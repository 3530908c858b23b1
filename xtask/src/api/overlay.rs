//! Merging an overlay file into the file of the same path: what Envoy 1.40 has on top.
//!
//! An overlay names only what is new or different. Messages and enums are merged by name, fields and enum values by
//! number (the overlay's wins), imports are united. Everything else stays the base file's.

use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto};

/// Imports that an overlay replaces by another file.
const RENAMED_IMPORTS: [&str; 1] = ["envoy/type/ai/v3/api_protocol.proto"];

/// Merges `extra` over `base`.
pub fn merge(base: &mut FileDescriptorProto, extra: FileDescriptorProto) {
    base.dependency
        .retain(|import| !RENAMED_IMPORTS.contains(&import.as_str()));
    for import in extra.dependency {
        if !base.dependency.contains(&import) {
            base.dependency.push(import);
        }
    }
    merge_messages(&mut base.message_type, extra.message_type);
    merge_enums(&mut base.enum_type, extra.enum_type);
}

fn merge_messages(base: &mut Vec<DescriptorProto>, extra: Vec<DescriptorProto>) {
    for message in extra {
        match base.iter_mut().find(|m| m.name == message.name) {
            Some(known) => merge_message(known, message),
            None => base.push(message),
        }
    }
}

fn merge_message(base: &mut DescriptorProto, extra: DescriptorProto) {
    // A oneof of the overlay is the base's oneof of that name, or a new one.
    let mut oneofs = Vec::new();
    for oneof in extra.oneof_decl {
        let at = base
            .oneof_decl
            .iter()
            .position(|o| o.name == oneof.name)
            .unwrap_or_else(|| {
                base.oneof_decl.push(oneof.clone());
                base.oneof_decl.len() - 1
            });
        if oneof.options.is_some() {
            base.oneof_decl[at].options = oneof.options;
        }
        oneofs.push(at as i32);
    }
    for mut field in extra.field {
        field.oneof_index = field.oneof_index.map(|i| oneofs[i as usize]);
        match base.field.iter_mut().find(|f| f.number == field.number) {
            Some(known) => *known = field,
            None => base.field.push(field),
        }
    }
    merge_messages(&mut base.nested_type, extra.nested_type);
    merge_enums(&mut base.enum_type, extra.enum_type);
    if extra.options.is_some() {
        base.options = extra.options;
    }
    release_reserved(base);
}

/// A number or name that the overlay takes into use is no longer reserved.
fn release_reserved(message: &mut DescriptorProto) {
    let DescriptorProto {
        field,
        reserved_range,
        reserved_name,
        ..
    } = message;
    reserved_range.retain(|r| {
        !field
            .iter()
            .any(|f| (r.start()..r.end()).contains(&f.number()))
    });
    reserved_name.retain(|n| !field.iter().any(|f| f.name() == n));
}

fn merge_enums(base: &mut Vec<EnumDescriptorProto>, extra: Vec<EnumDescriptorProto>) {
    for new in extra {
        let Some(known) = base.iter_mut().find(|e| e.name == new.name) else {
            base.push(new);
            continue;
        };
        for value in new.value {
            match known.value.iter_mut().find(|v| v.number == value.number) {
                Some(old) => *old = value,
                None => known.value.push(value),
            }
        }
    }
}

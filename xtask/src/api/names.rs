//! Makes every type and extension name absolute before linking.
//!
//! Envoy's files name types relatively (`config.core.v3.X` inside `envoy.extensions…`). protoc resolves such a name
//! among the imported files only; the linker used here sees every package at once and stops at the wrong one
//! (`envoy.extensions.config`). So names are resolved first, innermost scope outwards, to something that exists.

use prost_types::uninterpreted_option::NamePart;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    UninterpretedOption,
};
use std::collections::{BTreeMap, HashSet};

/// Rewrites all relative references of `files`; what cannot be resolved is left for the linker to report.
pub fn make_absolute(files: &mut BTreeMap<String, FileDescriptorProto>) {
    let mut known = Known::default();
    for file in files.values() {
        known.enter_file(file);
    }
    for file in files.values_mut() {
        known.resolve_file(file);
    }
}

/// Full names (without the leading dot) of all messages, enums and extensions.
#[derive(Default)]
struct Known(HashSet<String>);

impl Known {
    fn enter_file(&mut self, file: &FileDescriptorProto) {
        let scope = file.package().to_owned();
        self.enter(&scope, &file.message_type, &file.enum_type, &file.extension);
    }

    fn enter(
        &mut self,
        scope: &str,
        messages: &[DescriptorProto],
        enums: &[EnumDescriptorProto],
        extensions: &[FieldDescriptorProto],
    ) {
        for name in enums
            .iter()
            .map(|e| e.name())
            .chain(extensions.iter().map(|e| e.name()))
        {
            self.0.insert(join(scope, name));
        }
        for message in messages {
            let name = join(scope, message.name());
            self.enter(
                &name,
                &message.nested_type,
                &message.enum_type,
                &message.extension,
            );
            self.0.insert(name);
        }
    }

    fn resolve_file(&self, file: &mut FileDescriptorProto) {
        let scope = file.package().to_owned();
        for message in &mut file.message_type {
            self.resolve_message(&scope, message);
        }
        for extension in &mut file.extension {
            self.resolve_field(&scope, extension);
        }
        for each in &mut file.enum_type {
            self.resolve_enum(&scope, each);
        }
        if let Some(options) = &mut file.options {
            self.resolve_options(&scope, &mut options.uninterpreted_option);
        }
    }

    fn resolve_message(&self, scope: &str, message: &mut DescriptorProto) {
        let scope = join(scope, message.name());
        for field in message.field.iter_mut().chain(&mut message.extension) {
            self.resolve_field(&scope, field);
        }
        for nested in &mut message.nested_type {
            self.resolve_message(&scope, nested);
        }
        for each in &mut message.enum_type {
            self.resolve_enum(&scope, each);
        }
        for options in message
            .oneof_decl
            .iter_mut()
            .filter_map(|o| o.options.as_mut())
        {
            self.resolve_options(&scope, &mut options.uninterpreted_option);
        }
        if let Some(options) = &mut message.options {
            self.resolve_options(&scope, &mut options.uninterpreted_option);
        }
    }

    fn resolve_enum(&self, scope: &str, each: &mut EnumDescriptorProto) {
        if let Some(options) = &mut each.options {
            self.resolve_options(scope, &mut options.uninterpreted_option);
        }
        for options in each.value.iter_mut().filter_map(|v| v.options.as_mut()) {
            self.resolve_options(scope, &mut options.uninterpreted_option);
        }
    }

    fn resolve_field(&self, scope: &str, field: &mut FieldDescriptorProto) {
        for name in [&mut field.type_name, &mut field.extendee]
            .into_iter()
            .flatten()
        {
            self.resolve(scope, name);
        }
        if let Some(options) = &mut field.options {
            self.resolve_options(scope, &mut options.uninterpreted_option);
        }
    }

    fn resolve_options(&self, scope: &str, options: &mut [UninterpretedOption]) {
        for NamePart {
            name_part,
            is_extension,
        } in options.iter_mut().flat_map(|o| &mut o.name)
        {
            if *is_extension {
                self.resolve(scope, name_part);
            }
        }
    }

    fn resolve(&self, scope: &str, name: &mut String) {
        if name.starts_with('.') {
            return;
        }
        let mut scope = scope;
        loop {
            let full = join(scope, name);
            if self.0.contains(&full) {
                *name = format!(".{full}");
                return;
            }
            if scope.is_empty() {
                return;
            }
            scope = scope.rsplit_once('.').map_or("", |(outer, _)| outer);
        }
    }
}

fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() {
        name.to_owned()
    } else {
        format!("{scope}.{name}")
    }
}

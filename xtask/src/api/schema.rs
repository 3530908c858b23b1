//! .proto text → compiled descriptors: parse, merge the overlay, make names absolute, link.

use super::{names, overlay};
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use protox::file::{File, FileResolver, GoogleFileResolver};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The whole API, compiled.
pub struct Schema {
    /// Serialized `FileDescriptorSet`, dependencies first, option extensions kept.
    pub encoded: Vec<u8>,
    /// The same without what prost's own descriptor types cannot hold (the extensions).
    pub files: FileDescriptorSet,
}

/// Import path → parsed, not yet linked file.
type Parsed = BTreeMap<String, FileDescriptorProto>;

/// Compiles every file below `roots`, with the files below `overlay` merged over them.
pub fn compile(roots: &[PathBuf], overlay: &Path) -> Result<Schema, Box<dyn std::error::Error>> {
    let mut parsed = Parsed::new();
    for root in roots {
        for (name, file) in parse_all(root)? {
            parsed.entry(name).or_insert(file);
        }
    }
    let absent = std::fs::read_to_string(overlay.join("absent.txt"))?;
    let absent: Vec<&str> = absent
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .collect();
    parsed.retain(|name, _| !absent.iter().any(|a| name.starts_with(a)));
    for (name, extra) in parse_all(overlay)? {
        match parsed.get_mut(&name) {
            Some(base) => overlay::merge(base, extra),
            None => drop(parsed.insert(name, extra)),
        }
    }
    names::make_absolute(&mut parsed);
    for file in parsed.values_mut() {
        file.service.clear();
    }
    let order: Vec<String> = parsed.keys().cloned().collect();
    let mut compiler = protox::Compiler::with_file_resolver(Memory(parsed));
    compiler.include_imports(true).include_source_info(false);
    for name in &order {
        compiler
            .open_file(name)
            .map_err(|e| format!("{name}: {e:?}"))?;
    }
    // Known to every protobuf reader though no file of Envoy's imports it.
    compiler.open_file("google/protobuf/field_mask.proto")?;
    Ok(Schema {
        encoded: compiler.encode_file_descriptor_set(),
        files: compiler.file_descriptor_set(),
    })
}

fn parse_all(root: &Path) -> Result<Parsed, Box<dyn std::error::Error>> {
    let mut found = Parsed::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "proto") {
                let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
                let text = std::fs::read_to_string(&path)?;
                let mut file =
                    protox_parse::parse(&name, &text).map_err(|e| format!("{name}: {e:?}"))?;
                file.source_code_info = None;
                found.insert(name, file);
            }
        }
    }
    Ok(found)
}

/// Serves the merged files; `google/protobuf/*` comes from protox.
struct Memory(Parsed);

impl FileResolver for Memory {
    fn resolve_path(&self, path: &Path) -> Option<String> {
        Some(path.to_string_lossy().into_owned())
    }

    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.get(name) {
            Some(file) => Ok(File::from_file_descriptor_proto(file.clone())),
            None => GoogleFileResolver::new().open_file(name),
        }
    }
}

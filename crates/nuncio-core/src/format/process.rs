//! Facts of the process, and identifiers made on the spot.

use super::{
    FormatCx,
    command::{Args, Command, Parametric, Written, cut},
    write,
};
use std::sync::OnceLock;

/// A text known when the format is compiled.
#[derive(Debug)]
struct Fixed(Box<[u8]>);

impl Parametric for Fixed {
    fn write(&self, _: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
        out.extend_from_slice(&self.0);
        Written::Text
    }
}

/// `%ENVIRONMENT(NAME):length%`.
pub(super) fn environment(args: Args<'_>) -> Result<Command, String> {
    let usable = !args.params.contains(['=', '\0']);
    let Some(value) = std::env::var_os(args.params).filter(|_| usable) else { return Ok(Command::Absent) };
    let mut text = value.into_encoded_bytes();
    cut(&mut text, 0, args.length);
    Ok(Command::with(Fixed(text.into_boxed_slice())))
}

/// The machine's name.
pub(super) fn hostname(_: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    static NAME: OnceLock<String> = OnceLock::new();
    let name = NAME.get_or_init(|| {
        std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()).unwrap_or_default()
    });
    write::non_empty(out, name)
}

/// A fresh random UUID.
pub(super) fn unique_id(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    out.extend_from_slice(&cx.stream.worker.rng.uuid_text());
    Written::Text
}

//! `proxy_protocol_tlvs`: what the PROXY header that hosts get says beside addresses.

use nuncio_core::{StreamCx, format::Format};

/// `proxy_protocol_tlv_merge_policy`: what becomes of the ones that came with the client's own header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlvMerge {
    /// They go on alone.
    #[default]
    AddIfAbsent,
    /// Those of a configured type do not go on.
    Overwrite,
    /// They go on before the configured ones.
    Append,
}

/// The configured ones.
#[derive(Debug)]
pub struct Tlvs {
    /// By type.
    pub entries: Vec<(u8, TlvValue)>,
    /// Beside those of the client's own header.
    pub merge: TlvMerge,
}

/// The value of one.
#[derive(Debug)]
pub enum TlvValue {
    /// Always this.
    Bytes(Vec<u8>),
    /// Made from the connection.
    Format(Format),
}

impl Tlvs {
    /// All that hosts are told, where `own` came with the client's header, if it had one.
    pub(super) fn beside(&self, own: Vec<(u8, Vec<u8>)>, had_header: bool, cx: &StreamCx) -> Vec<(u8, Vec<u8>)> {
        let configured = self.entries.iter().map(|(kind, value)| {
            let bytes = match value {
                TlvValue::Bytes(bytes) => bytes.clone(),
                TlvValue::Format(format) => {
                    let mut text = Vec::new();
                    format.write(cx, &mut text);
                    text
                }
            };
            (*kind, bytes)
        });
        match self.merge {
            TlvMerge::AddIfAbsent if had_header => own,
            TlvMerge::AddIfAbsent => configured.collect(),
            TlvMerge::Overwrite => {
                let rest = own.into_iter().filter(|(kind, _)| !self.entries.iter().any(|(configured, _)| configured == kind));
                configured.chain(rest).collect()
            }
            TlvMerge::Append => own.into_iter().chain(configured).collect(),
        }
    }
}

//! `x-forwarded-client-cert`: what hosts learn of the client's certificate, and whom they may believe
//! (`forward_client_cert_details`, `set_current_client_cert_details`).

use nuncio_codec::headers::Known;
use nuncio_core::format::write_json_string;
use nuncio_core::{Certificate, ConnInfo, NameKind, StreamCx, TlsFacts, hex};
use std::fmt::Write as _;

/// `ForwardClientCertDetails`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardClientCert {
    /// `SANITIZE`: nothing is passed on.
    #[default]
    Sanitize,
    /// `FORWARD_ONLY`: what the client says, if it shows a certificate.
    ForwardOnly,
    /// `APPEND_FORWARD`: what the client says, and its certificate behind it.
    AppendForward,
    /// `SANITIZE_SET`: its certificate.
    SanitizeSet,
    /// `ALWAYS_FORWARD_ONLY`: what the client says.
    AlwaysForwardOnly,
}

/// `forward_client_cert_details` and `set_current_client_cert_details`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientCertRules {
    /// Whom to believe.
    pub forward: ForwardClientCert,
    /// `subject`.
    pub subject: bool,
    /// `cert`: the certificate in PEM form.
    pub cert: bool,
    /// `chain`: all that the client sent, likewise.
    pub chain: bool,
    /// `dns`: its DNS names.
    pub dns: bool,
    /// `uri`: its URIs.
    pub uri: bool,
    /// `issuer`: who signed it.
    pub issuer: bool,
    /// `format: JSON`: an array of objects, where what stands there already is none other.
    pub json: bool,
}

impl ClientCertRules {
    /// What is said of a connection's client; made once per connection.
    pub(crate) fn element(&self, conn: &ConnInfo) -> Option<String> {
        let wanted = matches!(self.forward, ForwardClientCert::AppendForward | ForwardClientCert::SanitizeSet);
        let facts = conn.tls_facts.as_deref().filter(|_| wanted)?;
        let peer = facts.peer_certificate()?;
        Some(if self.json { self.write_json(facts, peer) } else { self.write(facts, peer) })
    }

    fn write_json(&self, facts: &TlsFacts, peer: &Certificate) -> String {
        let mut out = Vec::new();
        let mut part = |key: &str, values: &[&str], list: bool| {
            if values.is_empty() {
                return;
            }
            out.extend_from_slice(if out.is_empty() { b"{\"" } else { b",\"" });
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(if list { b"\":[" } else { b"\":" });
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_json_string(&mut out, value.as_bytes());
            }
            if list {
                out.push(b']');
            }
        };
        let own: Vec<&str> = facts.local.iter().flat_map(|own| own.names_of(&NameKind::Uri)).collect();
        part("by", &own, true);
        part("hash", &[&hex(&peer.sha256)], false);
        if self.cert {
            part("cert", &[&peer.pem()], false);
        }
        if self.chain {
            let chain: Vec<String> = facts.peer.iter().map(|certificate| certificate.pem()).collect();
            part("chain", &chain.iter().map(String::as_str).collect::<Vec<_>>(), true);
        }
        if self.subject {
            part("subject", &[&peer.subject], false);
        }
        if self.uri {
            part("uri", &peer.names_of(&NameKind::Uri).collect::<Vec<_>>(), true);
        }
        if self.dns {
            part("dns", &peer.names_of(&NameKind::Dns).collect::<Vec<_>>(), true);
        }
        if self.issuer {
            part("issuer", &[&peer.issuer], false);
        }
        out.push(b'}');
        String::from_utf8_lossy(&out).into_owned()
    }

    fn write(&self, facts: &TlsFacts, peer: &Certificate) -> String {
        let mut out = String::new();
        let mut part = |key: &str, value: &str| {
            // Writing to a String cannot fail.
            let _ = write!(out, "{}{key}={value}", if out.is_empty() { "" } else { ";" });
        };
        for own in facts.local.iter().flat_map(|own| own.names_of(&NameKind::Uri)) {
            part("By", own);
        }
        part("Hash", &hex(&peer.sha256));
        if self.cert {
            part("Cert", &format!("\"{}\"", peer.url_encoded_pem()));
        }
        if self.chain {
            let chain: String = facts.peer.iter().map(|certificate| certificate.url_encoded_pem()).collect();
            part("Chain", &format!("\"{chain}\""));
        }
        if self.subject {
            part("Subject", &format!("\"{}\"", peer.subject));
        }
        if self.uri {
            let mut uris = peer.names_of(&NameKind::Uri).peekable();
            if uris.peek().is_none() {
                part("URI", "");
            }
            uris.for_each(|uri| part("URI", uri));
        }
        if self.dns {
            peer.names_of(&NameKind::Dns).for_each(|name| part("DNS", name));
        }
        if self.issuer {
            part("Issuer", &format!("\"{}\"", peer.issuer));
        }
        out
    }

    /// Brings a request's header in order; `element` is what is said of this connection's client.
    pub(crate) fn apply(&self, cx: &mut StreamCx, element: Option<&str>) {
        if self.forward == ForwardClientCert::AlwaysForwardOnly {
            return;
        }
        if self.forward == ForwardClientCert::Sanitize || !cx.conn.client_certificate.presented {
            cx.request.remove(Known::XForwardedClientCert);
            return;
        }
        let Some(element) = element else { return };
        if self.json {
            return self.apply_json(cx, element);
        }
        if self.forward == ForwardClientCert::AppendForward {
            cx.request.append_joined(Known::XForwardedClientCert, ",", element.as_bytes());
        } else {
            cx.request.insert(Known::XForwardedClientCert, element);
        }
    }

    /// An array with one more element; where there is something else already, that form goes on.
    fn apply_json(&self, cx: &mut StreamCx, element: &str) {
        let before = cx.request.get(Known::XForwardedClientCert).filter(|_| self.forward == ForwardClientCert::AppendForward);
        let made = match before {
            None => format!("[{element}]"),
            Some(before) => match before.trim_ascii().strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) {
                Some(b"") => format!("[{element}]"),
                Some(others) => format!("[{},{element}]", String::from_utf8_lossy(others)),
                None => {
                    let plain = ClientCertRules { json: false, ..*self };
                    return plain.apply(cx, plain.element(&cx.conn).as_deref());
                }
            },
        };
        cx.request.insert(Known::XForwardedClientCert, made);
    }
}

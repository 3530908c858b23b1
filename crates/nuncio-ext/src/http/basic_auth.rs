//! `envoy.filters.http.basic_auth`: names and passwords (RFC 7617), by a list in the format of htpasswd with SHA-1.
//!
//! What a client says is compared in a time that does not tell how much of it was right.

use crate::read::{self, within};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet, engine::general_purpose::STANDARD};
use nuncio_api::envoy::config::core::v3::DataSource;
use nuncio_api::envoy::extensions::filters::http::basic_auth::v3 as proto;
use nuncio_codec::headers::{HeaderName, Known, Name as _};
use nuncio_core::metadata::{MetadataValue, set_dynamic};
use nuncio_core::{BuildCx, ConfigError, FilterConfig, HttpFilter, HttpFilterEntry, LocalReply, Phases, Posture, Step, StreamCx};
use nuncio_stats::{Scope, stats_table};
use std::collections::HashMap;
use std::{any::Any, sync::Arc};

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.basic_auth",
    message: "envoy.extensions.filters.http.basic_auth.v3.BasicAuth",
    route_message: "envoy.extensions.filters.http.basic_auth.v3.BasicAuthPerRoute",
    posture: Posture::UntrustedDownstream,
    build,
    route,
};

stats_table! {
    /// `http.<prefix>.basic_auth.`
    pub BASIC_AUTH: "basic_auth" {
        /// Requests with a name and its password.
        counter ALLOWED = "allowed",
        /// Requests without.
        counter DENIED = "denied",
    }
}

/// Clients may leave the padding out.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// SHA-1 of passwords by names.
#[derive(Debug)]
struct Users(HashMap<Box<[u8]>, Box<[u8]>>);

/// What a route may have of its own.
#[derive(Debug)]
struct Settings {
    users: Users,
    /// Empty for the request's URL.
    realm: String,
}

#[derive(Debug)]
struct BasicAuth {
    name: String,
    settings: Settings,
    /// Where the client says who it is.
    header: HeaderName,
    /// Where the upstream is told.
    forward: Option<HeaderName>,
    allow_missing: bool,
    emit_metadata: bool,
    stats: Arc<Scope>,
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let proto::BasicAuth { users, forward_username_header, authentication_header, allow_missing, emit_dynamic_metadata, realm } =
        read::message(config)?;
    let header = if authentication_header.is_empty() { Known::Authorization.as_str() } else { &authentication_header };
    let forward = (!forward_username_header.is_empty()).then(|| read::header_name(&forward_username_header)).transpose();
    Ok(Arc::new(BasicAuth {
        name: cx.filter_name.to_owned(),
        settings: settings(users, realm)?,
        header: read::header_name(header).map_err(within("authentication_header"))?,
        forward: forward.map_err(within("forward_username_header"))?,
        allow_missing,
        emit_metadata: emit_dynamic_metadata,
        stats: cx.stats.scope(&format!("{}basic_auth.", cx.stat_prefix), &BASIC_AUTH),
    }))
}

fn route(config: FilterConfig<'_>, _: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    let proto::BasicAuthPerRoute { users, realm } = read::message(config)?;
    Ok(Arc::new(settings(users, realm)?))
}

fn settings(users: Option<DataSource>, realm: String) -> Result<Settings, ConfigError> {
    let text = read::data_source(&users.unwrap_or_default()).map_err(within("users"))?;
    if text.is_empty() {
        return Err(ConfigError::at("users", "is empty"));
    }
    Ok(Settings { users: Users::read(&text).map_err(|said| ConfigError::at("users", said))?, realm })
}

impl Users {
    /// Lines of `name:{SHA}` and the base64 of the password's SHA-1; `#` begins a remark.
    fn read(text: &[u8]) -> Result<Users, &'static str> {
        let mut users = HashMap::new();
        for line in text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty() && line[0] != b'#') {
            let at = line.iter().position(|&byte| byte == b':').ok_or("a line is no `name:{SHA}…`")?;
            let (name, hash) = (&line[..at], &line[at + 1..]);
            if name.is_empty() || hash.is_empty() {
                return Err("a name or its password is empty");
            }
            let hash = hash.strip_prefix(b"{SHA}").ok_or("basic auth: unsupported htpasswd format: please use {SHA}")?;
            let hash = STANDARD.decode(hash).ok().filter(|hash| hash.len() == 20).ok_or("a password is not the base64 of a SHA-1")?;
            if users.insert(name.into(), hash.into()).is_some() {
                return Err("a name comes twice");
            }
        }
        Ok(Users(users))
    }

    fn knows(&self, name: &[u8], password: &[u8]) -> bool {
        let said = digest(&SHA1_FOR_LEGACY_USE_ONLY, password);
        // Of a name that is not there nothing is right, after the same work.
        let known = self.0.get(name);
        let right = verify_slices_are_equal(said.as_ref(), known.map_or(&[0; 20], |hash| hash)).is_ok();
        right && known.is_some()
    }
}

/// Why somebody does not pass.
enum Fault {
    None,
    Scheme,
    Format,
    Wrong,
}

impl Fault {
    /// Body and details.
    fn told(&self) -> (&'static str, &'static str) {
        match self {
            Fault::None => ("User authentication failed. Missing username and password.", "no_credential_for_basic_auth"),
            Fault::Scheme => ("User authentication failed. Expected 'Basic' authentication scheme.", "invalid_scheme_for_basic_auth"),
            Fault::Format => ("User authentication failed. Invalid basic credential format.", "invalid_format_for_basic_auth"),
            Fault::Wrong => ("User authentication failed. Invalid username/password combination.", "invalid_credential_for_basic_auth"),
        }
    }
}

impl BasicAuth {
    /// Who the client is.
    fn judge(&self, cx: &StreamCx, users: &Users) -> Result<Vec<u8>, Fault> {
        let said = if self.header.known() == Known::Authorization {
            cx.request.get_joined(&self.header)
        } else {
            cx.request.get(&self.header).map(Into::into)
        };
        let said = said.filter(|said| !said.is_empty()).ok_or(Fault::None)?;
        let said = said.strip_prefix(b"Basic ").ok_or(Fault::Scheme)?;
        let mut pair = BASE64.decode(said.trim_ascii()).map_err(|_| Fault::Format)?;
        let at = pair.iter().position(|&byte| byte == b':').ok_or(Fault::Format)?;
        if !users.knows(&pair[..at], &pair[at + 1..]) {
            return Err(Fault::Wrong);
        }
        pair.truncate(at);
        Ok(pair)
    }

    fn deny(&self, cx: &StreamCx, fault: &Fault, settings: &Settings) -> Step {
        self.stats.inc(cx.worker.lane, DENIED);
        let own = [&settings.realm, &self.settings.realm].into_iter().find(|realm| !realm.is_empty());
        let realm = own.cloned().unwrap_or_else(|| {
            let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
            format!("{}://{}{}", text(cx.request.scheme()), text(cx.request.authority()), text(cx.request.path()))
        });
        let (body, details) = fault.told();
        Step::reply(LocalReply::new(401, details).body(body).header("www-authenticate", format!("Basic realm=\"{realm}\"")))
    }
}

impl HttpFilter for BasicAuth {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS
    }

    fn request_headers(&self, cx: &mut StreamCx, _end: bool) -> Step {
        let route = cx.configured_route();
        let settings = super::settings(&route, &self.name, &self.settings);
        let user = match self.judge(cx, &settings.users) {
            Ok(user) => user,
            Err(Fault::None | Fault::Scheme) if self.allow_missing => return Step::Continue,
            Err(fault) => return self.deny(cx, &fault, settings),
        };
        self.stats.inc(cx.worker.lane, ALLOWED);
        if let Some(header) = &self.forward {
            cx.request.insert(header, &user);
        }
        if self.emit_metadata {
            let user = MetadataValue::Text(String::from_utf8_lossy(&user).into_owned());
            set_dynamic(&mut cx.metadata, &self.name, "username", user);
        }
        Step::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_passwords_compared() {
        let users = Users::read(b"# people\n\nuser1:{SHA}tESsBmE/yNY3lb6a0L6vVQEZNqw=\r\n").unwrap();
        assert!(users.knows(b"user1", b"test1"));
        assert!(!users.knows(b"user1", b"test2") && !users.knows(b"user2", b"test1") && !users.knows(b"", b""));
        for bad in ["user1", ":x", "user1:", "user1:plain", "user1:{SHA}abc=", "a:{SHA}tESsBmE/yNY3lb6a0L6vVQEZNqw=\na:{SHA}tESsBmE/yNY3lb6a0L6vVQEZNqw="] {
            assert!(Users::read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}

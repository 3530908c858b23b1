//! The commands Envoy 1.40 knows: name, what may follow it, how it is made. A new command is one line here.

use super::{
    address, bytes, cel, coalesce,
    command::{Args, Command, Plain},
    connection, date, duration, grpc, header, metadata, path, process, stream, tls, unbuilt, upstream, xfcc,
};

/// What may follow a command's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    /// Nothing.
    Alone,
    /// Optional parameters.
    Params,
    /// Optional parameters and a length.
    ParamsAndLength,
    /// Parameters.
    Required,
    /// Parameters, and a length may follow.
    RequiredAndLength,
    /// The command itself judges.
    Own,
}

impl Syntax {
    fn check(self, args: Args<'_>) -> Result<(), String> {
        let Args { name, params, length } = args;
        let (required, optional, with_length) = match self {
            Syntax::Own => return Ok(()),
            Syntax::Alone if !params.is_empty() || length.is_some() => {
                return Err(format!("{name} does not take any parameters or length"));
            }
            Syntax::Alone => (false, false, false),
            Syntax::Params => (false, true, false),
            Syntax::ParamsAndLength => (false, true, true),
            Syntax::Required => (true, true, false),
            Syntax::RequiredAndLength => (true, true, true),
        };
        if required && params.is_empty() {
            return Err(format!("{name} requires parameters"));
        }
        debug_assert!(optional || params.is_empty(), "only Alone takes no parameters");
        if length.is_some() && !with_length {
            return Err(format!("{name} does not allow length to be specified."));
        }
        Ok(())
    }
}

/// How a command is made.
#[derive(Clone, Copy)]
enum Make {
    /// It has no parameters.
    Plain(Plain),
    /// It has no parameters, and is a number where there is anything.
    Number(Plain),
    /// From its parameters.
    With(fn(Args<'_>) -> Result<Command, String>),
    /// From its parameters; some of them are accepted without effect, and why.
    Partly(fn(Args<'_>) -> Result<(Command, Option<&'static str>), String>),
    /// Never known on the connections Nuncio has: `-` is the truth.
    Absent,
    /// Accepted without effect: a check of the parameters, and what is missing.
    Unbuilt(fn(Args<'_>) -> Result<(), String>, &'static str),
}

/// One command.
pub(super) struct Entry {
    /// Its name, without `%`.
    pub(super) name: &'static str,
    syntax: Syntax,
    make: Make,
}

impl Entry {
    /// Compiles it: the command, and why it has no effect where it has none.
    pub(super) fn compile(&self, args: Args<'_>) -> Result<(Command, Option<&'static str>), String> {
        self.syntax.check(args)?;
        match self.make {
            Make::Plain(write) => Ok((Command::Plain(write), None)),
            Make::Number(write) => Ok((Command::Number(write), None)),
            Make::With(build) => Ok((build(args)?, None)),
            Make::Partly(build) => build(args),
            Make::Absent => Ok((Command::Absent, None)),
            Make::Unbuilt(check, reason) => check(args).map(|()| (Command::Absent, Some(reason))),
        }
    }
}

/// The command called `name`.
pub(super) fn find(name: &str) -> Option<&'static Entry> {
    COMMANDS.binary_search_by(|entry| entry.name.cmp(name)).ok().map(|index| &COMMANDS[index])
}

const fn plain(name: &'static str, write: Plain) -> Entry {
    Entry { name, syntax: Syntax::Alone, make: Make::Plain(write) }
}

const fn number(name: &'static str, write: Plain) -> Entry {
    Entry { name, syntax: Syntax::Alone, make: Make::Number(write) }
}

pub(super) const fn with(name: &'static str, syntax: Syntax, build: fn(Args<'_>) -> Result<Command, String>) -> Entry {
    Entry { name, syntax, make: Make::With(build) }
}

const fn absent(name: &'static str) -> Entry {
    Entry { name, syntax: Syntax::Alone, make: Make::Absent }
}

pub(super) const fn unbuilt(
    name: &'static str,
    syntax: Syntax,
    check: fn(Args<'_>) -> Result<(), String>,
    reason: &'static str,
) -> Entry {
    Entry { name, syntax, make: Make::Unbuilt(check, reason) }
}

use Syntax::{Own, Params, ParamsAndLength, Required, RequiredAndLength};

/// All commands, sorted by name.
static COMMANDS: &[Entry] = &[
    plain("ACCESS_LOG_TYPE", stream::moment),
    number("BYTES_RECEIVED", bytes::received),
    number("BYTES_RETRANSMITTED", bytes::never),
    number("BYTES_SENT", bytes::sent),
    Entry { name: "CEL", syntax: Own, make: Make::Partly(cel::cel) },
    with("CLUSTER_METADATA", Required, metadata::cluster),
    with("COALESCE", RequiredAndLength, coalesce::coalesce),
    with("COMMON_DURATION", Required, duration::common),
    plain("CONNECTION_ID", connection::id),
    plain("CONNECTION_TERMINATION_DETAILS", stream::termination_details),
    plain("CUSTOM_FLAGS", stream::custom_flags),
    unbuilt("DOWNSTREAM_CX_RTT", Syntax::Alone, unbuilt::any, unbuilt::RTT),
    number("DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED", bytes::downstream_headers_received),
    number("DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT", bytes::downstream_headers_sent),
    plain("DOWNSTREAM_DETECTED_CLOSE_TYPE", stream::downstream_close_type),
    plain("DOWNSTREAM_DIRECT_LOCAL_ADDRESS", address::direct_local),
    plain("DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID", address::local_endpoint_id),
    with("DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT", Params, address::direct_local_without_port),
    plain("DOWNSTREAM_DIRECT_LOCAL_PORT", address::direct_local_port),
    plain("DOWNSTREAM_DIRECT_REMOTE_ADDRESS", address::direct_remote),
    with("DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", Params, address::direct_remote_without_port),
    plain("DOWNSTREAM_DIRECT_REMOTE_PORT", address::direct_remote_port),
    absent("DOWNSTREAM_HANDSHAKE_DURATION"),
    number("DOWNSTREAM_HEADER_BYTES_RECEIVED", bytes::downstream_headers_received),
    number("DOWNSTREAM_HEADER_BYTES_SENT", bytes::downstream_headers_sent),
    plain("DOWNSTREAM_LOCAL_ADDRESS", address::local),
    plain("DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID", address::local_endpoint_id),
    with("DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", Params, address::local_without_port),
    absent("DOWNSTREAM_LOCAL_CLOSE_REASON"),
    plain("DOWNSTREAM_LOCAL_DNS_SAN", tls::DOWN_LOCAL_DNS),
    plain("DOWNSTREAM_LOCAL_EMAIL_SAN", tls::DOWN_LOCAL_EMAIL),
    plain("DOWNSTREAM_LOCAL_IP_SAN", tls::DOWN_LOCAL_IP),
    plain("DOWNSTREAM_LOCAL_OTHERNAME_SAN", tls::DOWN_LOCAL_OTHER),
    plain("DOWNSTREAM_LOCAL_PORT", address::local_port),
    plain("DOWNSTREAM_LOCAL_SUBJECT", tls::DOWN_LOCAL_SUBJECT),
    plain("DOWNSTREAM_LOCAL_URI_SAN", tls::DOWN_LOCAL_URI),
    plain("DOWNSTREAM_PEER_CERT", tls::DOWN_PEER_CERT),
    with("DOWNSTREAM_PEER_CERT_V_END", Params, date::downstream_peer_end),
    with("DOWNSTREAM_PEER_CERT_V_START", Params, date::downstream_peer_start),
    plain("DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1", tls::DOWN_CHAIN_SHA1),
    plain("DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256", tls::DOWN_CHAIN_SHA256),
    plain("DOWNSTREAM_PEER_CHAIN_SERIALS", tls::DOWN_CHAIN_SERIALS),
    plain("DOWNSTREAM_PEER_DNS_SAN", tls::DOWN_PEER_DNS),
    plain("DOWNSTREAM_PEER_EMAIL_SAN", tls::DOWN_PEER_EMAIL),
    plain("DOWNSTREAM_PEER_FINGERPRINT_1", tls::DOWN_PEER_SHA1),
    plain("DOWNSTREAM_PEER_FINGERPRINT_256", tls::DOWN_PEER_SHA256),
    plain("DOWNSTREAM_PEER_IP_SAN", tls::DOWN_PEER_IP),
    plain("DOWNSTREAM_PEER_ISSUER", tls::DOWN_PEER_ISSUER),
    plain("DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256", tls::DOWN_ISSUER_SHA256),
    plain("DOWNSTREAM_PEER_ISSUER_SERIAL", tls::DOWN_ISSUER_SERIAL),
    plain("DOWNSTREAM_PEER_OTHERNAME_SAN", tls::DOWN_PEER_OTHER),
    plain("DOWNSTREAM_PEER_SERIAL", tls::DOWN_PEER_SERIAL),
    plain("DOWNSTREAM_PEER_SUBJECT", tls::DOWN_PEER_SUBJECT),
    plain("DOWNSTREAM_PEER_URI_SAN", tls::DOWN_PEER_URI),
    plain("DOWNSTREAM_REMOTE_ADDRESS", address::remote),
    with("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", Params, address::remote_without_port),
    plain("DOWNSTREAM_REMOTE_PORT", address::remote_port),
    plain("DOWNSTREAM_TLS_CIPHER", tls::DOWN_CIPHER),
    plain("DOWNSTREAM_TLS_GROUP", tls::DOWN_GROUP),
    absent("DOWNSTREAM_TLS_SESSION_ID"),
    plain("DOWNSTREAM_TLS_VERSION", tls::DOWN_VERSION),
    plain("DOWNSTREAM_TRANSPORT_FAILURE_REASON", tls::downstream_failure),
    number("DOWNSTREAM_WIRE_BYTES_RECEIVED", bytes::downstream_wire_received),
    number("DOWNSTREAM_WIRE_BYTES_SENT", bytes::downstream_wire_sent),
    number("DURATION", duration::whole),
    with("DYNAMIC_METADATA", RequiredAndLength, metadata::dynamic),
    with("EMIT_TIME", Params, date::emit_time),
    with("EMIT_TIME_LOCAL", Params, date::emit_time_local),
    with("ENVIRONMENT", RequiredAndLength, process::environment),
    plain("FILTER_CHAIN_NAME", connection::filter_chain),
    with("FILTER_STATE", Own, metadata::filter_state),
    with("GRPC_STATUS", Params, grpc::status),
    plain("GRPC_STATUS_NUMBER", grpc::status_number),
    plain("HOSTNAME", process::hostname),
    plain("LISTENER_NAME", connection::listener),
    plain("LOCAL_REPLY_BODY", stream::local_reply_body),
    Entry { name: "METADATA", syntax: Own, make: Make::Partly(metadata::metadata) },
    number("PACKETS_RETRANSMITTED", bytes::never),
    with("PATH", ParamsAndLength, path::path),
    plain("PROTOCOL", stream::protocol),
    with("QUERY_PARAM", RequiredAndLength, path::query_param),
    with("QUERY_PARAMS", ParamsAndLength, path::query_params),
    with("REQ", RequiredAndLength, header::request),
    with("REQUESTED_SERVER_NAME", Params, connection::requested_server_name),
    number("REQUEST_DURATION", duration::request),
    with("REQUEST_HEADER", RequiredAndLength, header::request),
    number("REQUEST_HEADERS_BYTES", bytes::request_headers),
    number("REQUEST_TX_DURATION", duration::request_sent),
    with("RESP", RequiredAndLength, header::response),
    number("RESPONSE_CODE", stream::response_code),
    with("RESPONSE_CODE_DETAILS", Params, stream::response_code_details),
    number("RESPONSE_DURATION", duration::response),
    plain("RESPONSE_FLAGS", stream::flags),
    plain("RESPONSE_FLAGS_LONG", stream::flags_long),
    with("RESPONSE_HEADER", RequiredAndLength, header::response),
    number("RESPONSE_HEADERS_BYTES", bytes::response_headers),
    with("RESPONSE_TRAILER", RequiredAndLength, header::response_trailer),
    number("RESPONSE_TRAILERS_BYTES", bytes::response_trailers),
    number("RESPONSE_TX_DURATION", duration::response_sent),
    absent("ROUNDTRIP_DURATION"),
    plain("ROUTE_NAME", stream::route_name),
    number("ROUTE_RESOLUTION_COUNT", stream::route_resolutions),
    unbuilt("ROUTE_RESOLUTION_TIME_US", Syntax::Alone, unbuilt::any, unbuilt::ROUTE_TIME),
    plain("SPAN_ID", stream::span_id),
    with("START_TIME", Params, date::start_time),
    with("START_TIME_LOCAL", Params, date::start_time_local),
    plain("STREAM_ID", stream::stream_id),
    with("STREAM_INFO_REQ", RequiredAndLength, header::request),
    plain("TLS_JA3_FINGERPRINT", connection::ja3),
    plain("TLS_JA4_FINGERPRINT", connection::ja4),
    plain("TRACE_ID", stream::trace_id),
    with("TRAILER", RequiredAndLength, header::response_trailer),
    Entry { name: "TYPED_CEL", syntax: Own, make: Make::Partly(cel::cel) },
    plain("UNIQUE_ID", process::unique_id),
    plain("UPSTREAM_CLUSTER", upstream::cluster),
    plain("UPSTREAM_CLUSTER_RAW", upstream::cluster_raw),
    number("UPSTREAM_CONNECTION_ID", upstream::connection_id),
    plain("UPSTREAM_CONNECTION_IDS_ATTEMPTED", upstream::connection_ids_attempted),
    number("UPSTREAM_CONNECTION_POOL_READY_DURATION", duration::pool_ready),
    number("UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED", bytes::upstream_headers_received),
    number("UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT", bytes::upstream_headers_sent),
    plain("UPSTREAM_DETECTED_CLOSE_TYPE", upstream::close_type),
    unbuilt("UPSTREAM_FILTER_STATE", Own, unbuilt::filter_state, unbuilt::FILTER_STATE),
    number("UPSTREAM_HEADER_BYTES_RECEIVED", bytes::upstream_headers_received),
    number("UPSTREAM_HEADER_BYTES_SENT", bytes::upstream_headers_sent),
    plain("UPSTREAM_HOST", upstream::host),
    plain("UPSTREAM_HOSTS_ATTEMPTED", upstream::hosts_attempted),
    plain("UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT", upstream::hosts_attempted_without_port),
    plain("UPSTREAM_HOST_NAME", upstream::host_name),
    plain("UPSTREAM_HOST_NAMES_ATTEMPTED", upstream::host_names_attempted),
    plain("UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT", upstream::host_names_attempted_without_port),
    plain("UPSTREAM_HOST_NAME_WITHOUT_PORT", upstream::host_name_without_port),
    plain("UPSTREAM_LOCAL_ADDRESS", upstream::local),
    with("UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", Params, upstream::local_without_port),
    absent("UPSTREAM_LOCAL_CLOSE_REASON"),
    plain("UPSTREAM_LOCAL_DNS_SAN", tls::UP_LOCAL_DNS),
    plain("UPSTREAM_LOCAL_IP_SAN", tls::UP_LOCAL_IP),
    plain("UPSTREAM_LOCAL_PORT", upstream::local_port),
    plain("UPSTREAM_LOCAL_URI_SAN", tls::UP_LOCAL_URI),
    with("UPSTREAM_METADATA", Required, metadata::host),
    plain("UPSTREAM_PEER_CERT", tls::UP_PEER_CERT),
    with("UPSTREAM_PEER_CERT_V_END", Params, date::upstream_peer_end),
    with("UPSTREAM_PEER_CERT_V_START", Params, date::upstream_peer_start),
    plain("UPSTREAM_PEER_DNS_SAN", tls::UP_PEER_DNS),
    plain("UPSTREAM_PEER_IP_SAN", tls::UP_PEER_IP),
    plain("UPSTREAM_PEER_ISSUER", tls::UP_PEER_ISSUER),
    plain("UPSTREAM_PEER_SUBJECT", tls::UP_PEER_SUBJECT),
    plain("UPSTREAM_PEER_URI_SAN", tls::UP_PEER_URI),
    plain("UPSTREAM_PROTOCOL", upstream::protocol),
    plain("UPSTREAM_REMOTE_ADDRESS", upstream::remote),
    plain("UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID", upstream::remote_endpoint_id),
    with("UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", Params, upstream::remote_without_port),
    plain("UPSTREAM_REMOTE_PORT", upstream::remote_port),
    number("UPSTREAM_REQUEST_ATTEMPT_COUNT", upstream::attempts),
    plain("UPSTREAM_SERVER_NAME", tls::UP_SERVER_NAME),
    plain("UPSTREAM_TLS_CIPHER", tls::UP_CIPHER),
    plain("UPSTREAM_TLS_GROUP", tls::UP_GROUP),
    absent("UPSTREAM_TLS_SESSION_ID"),
    plain("UPSTREAM_TLS_VERSION", tls::UP_VERSION),
    plain("UPSTREAM_TRANSPORT_FAILURE_REASON", upstream::transport_failure),
    number("UPSTREAM_WIRE_BYTES_RECEIVED", bytes::upstream_wire_received),
    number("UPSTREAM_WIRE_BYTES_SENT", bytes::upstream_wire_sent),
    plain("VIRTUAL_CLUSTER_NAME", stream::virtual_cluster),
    with("XFCC_VALUE", Own, xfcc::value),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_so_that_every_command_is_found() {
        for pair in COMMANDS.windows(2) {
            assert!(pair[0].name < pair[1].name, "{} before {}", pair[0].name, pair[1].name);
        }
    }
}

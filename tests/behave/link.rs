//! Byte streams of clients and backends: plain, or TLS.
//!
//! A client's step says `tls: {sni: name, cert: client, alpn: [h2], max: '1.2', min: '1.3'}`; a backend's first rule
//! `{tls: {cert: server, client_ca: ca, alpn: [http/1.1], max: '1.2', min: '1.3'}}`. Certificates are named as the files
//! in `pki/`, which scripts call `PKIDIR`. Clients believe any certificate: what they get is in the transcript.

use crate::node::Node;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, ServerConfig, ServerConnection, SignatureScheme,
    StreamOwned, SupportedProtocolVersion,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::WebPkiClientVerifier,
};
use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::Arc,
};

/// Where the certificates are.
pub const PKI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/behave/pki");

/// A connected byte stream.
pub enum Link {
    Plain(TcpStream),
    Client(Box<StreamOwned<ClientConnection, TcpStream>>),
    Server(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Link {
    /// What is below.
    pub fn socket(&self) -> &TcpStream {
        match self {
            Link::Plain(socket) => socket,
            Link::Client(stream) => stream.get_ref(),
            Link::Server(stream) => stream.get_ref(),
        }
    }
}

impl Read for Link {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = match self {
            Link::Plain(socket) => return socket.read(into),
            Link::Client(stream) => stream.read(into),
            Link::Server(stream) => stream.read(into),
        };
        match read {
            // Most peers close without saying goodbye.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            other => other,
        }
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Link::Plain(socket) => socket.write(bytes),
            Link::Client(stream) => stream.write(bytes),
            Link::Server(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Link::Plain(socket) => socket.flush(),
            Link::Client(stream) => stream.flush(),
            Link::Server(stream) => stream.flush(),
        }
    }
}

fn certificates(name: &str) -> Vec<CertificateDer<'static>> {
    let path = format!("{PKI}/{name}.pem");
    CertificateDer::pem_file_iter(&path).and_then(Iterator::collect).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn key(name: &str) -> PrivateKeyDer<'static> {
    let path = format!("{PKI}/{name}.key");
    PrivateKeyDer::from_pem_file(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn versions(tls: &Node) -> Vec<&'static SupportedProtocolVersion> {
    let all = [("1.2", &rustls::version::TLS12), ("1.3", &rustls::version::TLS13)];
    let (min, max) = (tls.string("min").unwrap_or_else(|| "1.2".into()), tls.string("max").unwrap_or_else(|| "1.3".into()));
    all.into_iter().filter(|(name, _)| **name >= *min && **name <= *max).map(|(_, version)| version).collect()
}

fn alpn(tls: &Node) -> Vec<Vec<u8>> {
    tls.get("alpn").map_or(&[][..], Node::items).iter().map(|protocol| protocol.text().into_bytes()).collect()
}

/// Takes whatever the server shows.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The client's side of a connection.
pub fn client(socket: TcpStream, tls: &Node) -> io::Result<Link> {
    let mut provider = default_provider();
    // What is offered without its share, some servers ask for, and others do not.
    provider.kx_groups.retain(|group| group.name() != rustls::NamedGroup::X25519MLKEM768);
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&versions(tls))
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody));
    let mut config = match tls.string("cert") {
        None => builder.with_no_client_auth(),
        Some(name) => builder.with_client_auth_cert(certificates(&name), key(&name)).map_err(io::Error::other)?,
    };
    config.alpn_protocols = alpn(tls);
    config.enable_sni = tls.has("sni");
    let name = tls.string("sni").unwrap_or_else(|| "nobody.test".to_owned());
    let name = ServerName::try_from(name).map_err(io::Error::other)?;
    let mut session = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut socket = socket;
    while session.is_handshaking() {
        session.complete_io(&mut socket)?;
    }
    Ok(Link::Client(Box::new(StreamOwned::new(session, socket))))
}

/// What a client can tell of the handshake.
pub fn told(link: &Link) -> Option<String> {
    let Link::Client(stream) = link else { return None };
    let version = if stream.conn.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3) { "TLSv1.3" } else { "TLSv1.2" };
    let alpn = stream.conn.alpn_protocol().map_or("-".into(), |protocol| String::from_utf8_lossy(protocol).into_owned());
    let shown = stream.conn.peer_certificates().and_then(|all| all.first());
    const NAMES: [&str; 9] = ["server", "other", "bare", "client", "stranger", "expired", "revoked", "chain", "selfsigned"];
    let name = NAMES.iter().find(|name| certificates(name).first() == shown).unwrap_or(&"unknown");
    Some(format!("{version} alpn={alpn} certificate={name}"))
}

/// What a backend speaks TLS with.
pub fn server_config(tls: &Node) -> Result<Arc<ServerConfig>, String> {
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions(tls))
        .map_err(|error| error.to_string())?;
    let builder = match tls.string("client_ca") {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let mut roots = RootCertStore::empty();
            for ca in certificates(&name) {
                roots.add(ca).map_err(|error| error.to_string())?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(|error| error.to_string())?)
        }
    };
    let cert = tls.string("cert").unwrap_or_else(|| "server".to_owned());
    let mut config = builder.with_single_cert(certificates(&cert), key(&cert)).map_err(|error| error.to_string())?;
    config.alpn_protocols = alpn(tls);
    Ok(Arc::new(config))
}

/// The server's side of a connection, and what it saw of the client.
pub fn server(mut socket: TcpStream, config: &Arc<ServerConfig>) -> io::Result<(Link, String)> {
    let mut session = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
    while session.is_handshaking() {
        session.complete_io(&mut socket)?;
    }
    let version = if session.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3) { "TLSv1.3" } else { "TLSv1.2" };
    let alpn = session.alpn_protocol().map_or("-".into(), |protocol| String::from_utf8_lossy(protocol).into_owned());
    let shown = if session.peer_certificates().is_some_and(|all| !all.is_empty()) { "yes" } else { "no" };
    let seen = format!("({version} sni={} alpn={alpn} certificate={shown})", session.server_name().unwrap_or("-"));
    Ok((Link::Server(Box::new(StreamOwned::new(session, socket))), seen))
}

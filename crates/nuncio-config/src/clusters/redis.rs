//! `RedisProtocolOptions` of a cluster → [`RedisOptions`].

use crate::address::Parsed;
use crate::context::CompileCx;
use crate::unbuilt;
use nuncio_api::envoy::config::cluster::v3::Cluster;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::extensions::filters::network::redis_proxy::v3 as proto;
use nuncio_redis::{Credential, RedisOptions};
use nuncio_upstream::config::Attached;
use prost::Message as _;
use proto::redis_protocol_options::Credential as HostCredential;

/// Key of the options.
pub(super) const KEY: &str = "envoy.filters.network.redis_proxy";

pub(super) fn compile(cx: &mut CompileCx<'_>, cluster: &Cluster) -> Option<Attached> {
    let config = cluster.typed_extension_protocol_options.get(KEY)?;
    let proto::RedisProtocolOptions { auth_password, auth_username, aws_iam, credentials } =
        proto::RedisProtocolOptions::decode(config.value.as_slice()).ok()?;
    let options = cx.entry("typed_extension_protocol_options", KEY, |cx| {
        unbuilt!(cx, aws_iam);
        let default = credential(cx, auth_username.as_ref(), auth_password.as_ref());
        let hosts = cx.each("credentials", &credentials, |cx, HostCredential { address, auth_password, auth_username }| {
            let address = cx.at("address", |cx| match crate::address::parse(cx, address.as_ref()?)? {
                Parsed::Ready(nuncio_rt::Address::Ip(address)) => Some(address),
                _ => None,
            })?;
            Some((address, credential(cx, auth_username.as_ref(), auth_password.as_ref())))
        });
        RedisOptions { default, hosts }
    });
    Some(Attached::new(config.value.as_slice(), options))
}

fn credential(cx: &mut CompileCx<'_>, username: Option<&core::DataSource>, password: Option<&core::DataSource>) -> Credential {
    let mut read = |field, from: Option<&core::DataSource>| {
        let text = from.and_then(|from| cx.at(field, |cx| crate::routes::data(cx, from, None)));
        text.unwrap_or_default().into_bytes()
    };
    Credential { username: read("auth_username", username), password: read("auth_password", password) }
}

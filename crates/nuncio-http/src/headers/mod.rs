//! What the connection manager does to heads on their way in and out.

pub(crate) mod client_cert;
pub(crate) mod detection;
pub(crate) mod local_address;
pub(crate) mod proxy_status;
mod referer;
pub(crate) mod request;
pub(crate) mod response;

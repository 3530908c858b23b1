//! HTTP: the connection manager, the filter engine, routing and the router.
//!
//! * [`config`]: the connection manager's configuration in plain types.
//! * [`Hcm`]: the terminal network filter made of it.
//! * `server`: downstream connections; `stream`: one exchange and its filter engine; `headers`: what is done to
//!   heads on their way; `router`: the upstream side; [`routes`]: the route table.
//!
//! It leaves to others: bytes (`nuncio-codec`), sockets and listeners (`nuncio-listen`), clusters, hosts and pools
//! (`nuncio-upstream`), reading configuration (`nuncio-config`), filters themselves (`nuncio-ext`).

pub mod config;
mod hcm;
mod headers;
mod local_reply;
mod router;
pub mod routes;
mod server;
mod stream;
mod tracing;

pub use hcm::Hcm;
pub use local_reply::{BodyFormat, LocalReplies, ReplyMapper};
pub use headers::local_address::of_this_host as address_of_this_host;
pub use router::{Outlook, install_client, install_client_on_demand};
pub use stream::{Chain, Installed};

//! Clusters that choose hosts in a way of their own (`lb_policy: CLUSTER_PROVIDED`): the workers' half.

mod aggregate;
mod dynamic;
mod original_dst;

pub(crate) use aggregate::Aggregate;
pub use aggregate::{Member, MemberChoice};
pub(crate) use dynamic::Dynamic;
pub(crate) use original_dst::OriginalDst;

//! Clusters that choose hosts in a way of their own (`lb_policy: CLUSTER_PROVIDED`): the workers' half.

mod aggregate;

pub(crate) use aggregate::Aggregate;
pub use aggregate::{Member, MemberChoice};

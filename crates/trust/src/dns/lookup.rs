//! Asking for records by type.

use std::future::Future;
use std::net::IpAddr;
use std::time::SystemTime;

use super::message::Rtype;
use super::name::Name;
use super::record::{Data, Mx, Srv};
use super::status::Answer;
use crate::tlsa::Tlsa;

/// Who answers questions about names: a [`super::Resolver`], or a table in a test.
pub trait Lookup: Sync {
    /// The answer to one question. It never fails: what could not be found out is a status.
    fn lookup(
        &self,
        name: &Name,
        rtype: Rtype,
        now: SystemTime,
    ) -> impl Future<Output = Answer<Data>> + Send;

    /// Addresses of one family: `A`, or `AAAA`.
    fn addresses(
        &self,
        name: &Name,
        rtype: Rtype,
        now: SystemTime,
    ) -> impl Future<Output = Answer<IpAddr>> + Send {
        async move {
            self.lookup(name, rtype, now).await.each(|data| match data {
                Data::A(address) => Some(IpAddr::V4(address)),
                Data::Aaaa(address) => Some(IpAddr::V6(address)),
                _ => None,
            })
        }
    }

    /// Mail exchanges, as they come.
    fn mx(&self, name: &Name, now: SystemTime) -> impl Future<Output = Answer<Mx>> + Send {
        async move {
            self.lookup(name, Rtype::MX, now)
                .await
                .each(|data| match data {
                    Data::Mx(mx) => Some(mx),
                    _ => None,
                })
        }
    }

    /// TLSA records at this very name.
    fn tlsa(&self, name: &Name, now: SystemTime) -> impl Future<Output = Answer<Tlsa>> + Send {
        async move {
            self.lookup(name, Rtype::TLSA, now)
                .await
                .each(|data| match data {
                    Data::Tlsa(tlsa) => Some(tlsa),
                    _ => None,
                })
        }
    }

    /// Service locations, as they come.
    fn srv(&self, name: &Name, now: SystemTime) -> impl Future<Output = Answer<Srv>> + Send {
        async move {
            self.lookup(name, Rtype::SRV, now)
                .await
                .each(|data| match data {
                    Data::Srv(srv) => Some(srv),
                    _ => None,
                })
        }
    }

    /// Texts, each with its strings joined.
    fn txt(&self, name: &Name, now: SystemTime) -> impl Future<Output = Answer<Vec<u8>>> + Send {
        async move {
            self.lookup(name, Rtype::TXT, now)
                .await
                .each(|data| match data {
                    Data::Txt(strings) => Some(strings.concat()),
                    _ => None,
                })
        }
    }

    /// The CNAME at this very name, not followed.
    fn cname(&self, name: &Name, now: SystemTime) -> impl Future<Output = Answer<Name>> + Send {
        async move {
            self.lookup(name, Rtype::CNAME, now)
                .await
                .each(|data| match data {
                    Data::Cname(target) => Some(target),
                    _ => None,
                })
        }
    }
}

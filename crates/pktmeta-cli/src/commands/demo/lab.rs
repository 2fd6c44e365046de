//! Two hosts, and the datapath on one of them.

use anyhow::Context;
use pktmeta::{Field, builtin};
use pktmeta_bpf::{Datapath, UpOptions};
use pktmeta_core::schema::Schema;
use pktmeta_testkit::{link::TwoHosts, sandbox::Sandbox};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

/// The field that the demo's labels set.
pub(super) const TENANT: Field<u32> = Field::new("tenant");

const SCHEMA: &str = r#"
owner = "demo"

[[field]]
name = "tenant"
type = "u32"
doc = "Which of the client's addresses sent the packet"
"#;

/// Two hosts: the client has an address for each of several tenants, the server labels what it
/// receives.
pub(super) struct Lab {
    pub(super) hosts: TwoHosts,
    pub(super) datapath: Datapath,
    pub(super) interface: &'static str,
}

impl Lab {
    pub(super) const TENANTS: u32 = 4;
    const PORT: u16 = 7000;

    pub(super) fn new(sandbox: &Sandbox, bpffs: &Path) -> anyhow::Result<Self> {
        let hosts = TwoHosts::new().context("make two hosts")?;
        let mut options = UpOptions::new(TwoHosts::SERVER_LINK);
        options.cgroup = Some(sandbox.cgroup().into());
        options.produce = builtin::NAMES.map(String::from).into();
        options.schemas = vec![Schema::parse("demo.toml", SCHEMA)?];
        for family in Family::BOTH {
            for tenant in 1..=Self::TENANTS {
                let address = family.tenant_address(tenant);
                let length = if address.is_ipv4() { 24 } else { 64 };
                hosts
                    .client_link()
                    .add_address(address, length)
                    .context("add an address")?;
                options
                    .labels
                    .get_or_insert_default()
                    .push(format!("{address}={}:{tenant}", TENANT.name()).parse()?);
            }
        }
        let datapath = Datapath::new(bpffs);
        hosts.server().run(|| datapath.up(&options))?;
        Ok(Self {
            hosts,
            datapath,
            interface: TwoHosts::SERVER_LINK,
        })
    }

    /// The server's address.
    pub(super) fn server(&self, family: Family) -> SocketAddr {
        let address = match family {
            Family::V4 => IpAddr::from(TwoHosts::SERVER_V4),
            Family::V6 => IpAddr::from(TwoHosts::SERVER_V6),
        };
        SocketAddr::new(address, Self::PORT)
    }

    /// The client's address as `tenant`.
    pub(super) fn client(&self, family: Family, tenant: u32) -> SocketAddr {
        SocketAddr::new(family.tenant_address(tenant), 0)
    }
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// Its name in JSON.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        }
    }

    fn tenant_address(self, tenant: u32) -> IpAddr {
        // The two hosts' own addresses are .1 and .2.
        let host = 100 + tenant as u8;
        match self {
            Self::V4 => Ipv4Addr::new(192, 0, 2, host).into(),
            Self::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host.into()).into(),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

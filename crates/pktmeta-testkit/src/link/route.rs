//! Blocking requests to the kernel's routing socket.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use futures_util::{FutureExt, TryStreamExt};
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags};
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkAttribute, State};
use rtnetlink::packet_route::neighbour::NeighbourState;
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVeth};

use super::mac::Mac;
use crate::Result;
use crate::error::{Context, Error};
use crate::netns::Netns;

/// Runs a request on a routing socket that is opened inside the namespace.
pub(super) fn in_netns<T: Send>(
    netns: &Netns,
    request: impl AsyncFnOnce(&Handle) -> Result<T> + Send,
) -> Result<T> {
    netns.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .context(|| "cannot make a runtime for netlink".into())?;
        runtime.block_on(async {
            let (connection, handle, _) =
                rtnetlink::new_connection().context(|| "cannot open a routing socket".into())?;
            // Ends with the runtime.
            tokio::spawn(connection.map(drop));
            request(&handle).await
        })
    })
}

pub(super) async fn add_veth(
    handle: &Handle,
    name: &str,
    peer: &str,
    peer_netns: BorrowedFd<'_>,
) -> Result<()> {
    let peer = LinkMessageBuilder::<LinkUnspec>::new()
        .name(peer)
        .setns_by_fd(peer_netns.as_raw_fd())
        .build();
    let veth = LinkVeth::new(name, "")
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
        .build();
    handle.link().add(veth).execute().await.map_err(refused)
}

pub(super) async fn find(handle: &Handle, name: &str) -> Result<(u32, Mac)> {
    let mut links = handle.link().get().match_name(name).execute();
    let link = links
        .try_next()
        .await
        .map_err(refused)?
        .ok_or_else(|| Error::new("no such device"))?;
    let mac = link
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Address(bytes) => bytes.as_slice().try_into().ok(),
            _ => None,
        });
    let mac = mac.ok_or_else(|| Error::new("the device has no Ethernet address"))?;
    Ok((link.header.index, mac))
}

pub(super) async fn add_address(
    handle: &Handle,
    index: u32,
    address: IpAddr,
    prefix_len: u8,
) -> Result<()> {
    let mut request = handle.address().add(index, address, prefix_len);
    // With this flag an IPv6 address can be used at once: even where detection of duplicates is
    // off, another is tentative until a kernel worker has looked at it (addrconf_dad_work).
    request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
    request.execute().await.map_err(refused)
}

pub(super) async fn add_neighbour(
    handle: &Handle,
    index: u32,
    address: IpAddr,
    mac: Mac,
) -> Result<()> {
    let request = handle
        .neighbours()
        .add(index, address)
        .link_layer_address(&mac);
    request
        .state(NeighbourState::Permanent)
        .replace()
        .execute()
        .await
        .map_err(refused)
}

pub(super) async fn set_up(handle: &Handle, index: u32) -> Result<()> {
    set(handle, LinkUnspec::new_with_index(index).up()).await
}

pub(super) async fn set_mtu(handle: &Handle, index: u32, mtu: u32) -> Result<()> {
    set(handle, LinkUnspec::new_with_index(index).mtu(mtu)).await
}

/// The reason why a device cannot send yet, in words.
pub(super) async fn what_is_missing(handle: &Handle, index: u32) -> Result<Option<String>> {
    let mut links = handle.link().get().match_index(index).execute();
    let link = links
        .try_next()
        .await
        .map_err(refused)?
        .ok_or_else(|| Error::new("the device is gone"))?;
    // Not the carrier flag: it is set before the transmit queue is, and packets in between are
    // lost.
    if !link
        .attributes
        .contains(&LinkAttribute::OperState(State::Up))
    {
        return Ok(Some("it is down or has no carrier".into()));
    }
    let mut addresses = handle
        .address()
        .get()
        .set_link_index_filter(index)
        .execute();
    while let Some(address) = addresses.try_next().await.map_err(refused)? {
        let tentative = address.header.flags.contains(AddressHeaderFlags::Tentative)
            || address.attributes.iter().any(|attribute| match attribute {
                AddressAttribute::Flags(flags) => flags.contains(AddressFlags::Tentative),
                _ => false,
            });
        if tentative {
            let ip = address
                .attributes
                .iter()
                .find_map(|attribute| match attribute {
                    AddressAttribute::Address(ip) => Some(ip.to_string()),
                    _ => None,
                });
            return Ok(Some(format!(
                "the address {} is tentative",
                ip.unwrap_or_default()
            )));
        }
    }
    Ok(None)
}

async fn set(handle: &Handle, change: LinkMessageBuilder<LinkUnspec>) -> Result<()> {
    handle
        .link()
        .set(change.build())
        .execute()
        .await
        .map_err(refused)
}

/// Brings out the errno, which netlink hides in a message.
fn refused(error: rtnetlink::Error) -> Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => {
            Error::with_source("the kernel refused the request", message.to_io())
        }
        other => Error::with_source("the netlink request failed", other),
    }
}

//! Devices: veth pairs and their ends.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use super::mac::Mac;
use super::route;
use crate::Result;
use crate::error::Error;
use crate::netns::Netns;

/// One end of a veth pair, in its namespace.
#[derive(Debug, Clone)]
pub struct Link {
    netns: Netns,
    name: String,
    index: u32,
    mac: Mac,
}

/// Two Ethernet devices with a wire between them.
#[derive(Debug, Clone)]
pub struct VethPair {
    a: Link,
    b: Link,
}

impl VethPair {
    /// Makes a pair of devices, one in each namespace (which may be the same), both down.
    ///
    /// # Errors
    /// A name is taken in its namespace, longer than 15 bytes or not a valid name for a device; or
    /// the kernel has no veth driver.
    ///
    /// ```no_run
    /// use pktmeta_testkit::{link::VethPair, netns::Netns};
    /// use std::time::Duration;
    ///
    /// let (left, right) = (Netns::new()?, Netns::new()?);
    /// let pair = VethPair::new(&left, "veth0", &right, "veth1")?;
    /// for (link, address) in [(pair.a(), "10.0.0.1"), (pair.b(), "10.0.0.2")] {
    ///     link.add_address(address.parse().unwrap(), 24)?;
    ///     link.set_up()?;
    /// }
    /// pair.wait_until_ready(Duration::from_secs(5))?;
    /// # Ok::<(), pktmeta_testkit::Error>(())
    /// ```
    pub fn new(a: &Netns, a_name: &str, b: &Netns, b_name: &str) -> Result<Self> {
        for name in [a_name, b_name] {
            check_name(name)?;
        }
        route::in_netns(a, async |handle| {
            route::add_veth(handle, a_name, b_name, b.as_fd()).await
        })
        .map_err(|error| {
            error.context(format!("cannot make the veth pair {a_name} and {b_name}"))
        })?;
        Ok(Self {
            a: Link::find(a, a_name)?,
            b: Link::find(b, b_name)?,
        })
    }

    /// The end in the first namespace.
    pub fn a(&self) -> &Link {
        &self.a
    }

    /// The end in the second namespace.
    pub fn b(&self) -> &Link {
        &self.b
    }

    /// Waits until both ends have their carrier and can use their addresses.
    ///
    /// # Errors
    /// That has not happened within `limit`; says what was missing.
    pub fn wait_until_ready(&self, limit: Duration) -> Result<()> {
        self.a.wait_until_ready(limit)?;
        self.b.wait_until_ready(limit)
    }
}

impl Link {
    /// Looks a device up by its name in a namespace.
    ///
    /// # Errors
    /// There is none, or it has no Ethernet address.
    pub fn find(netns: &Netns, name: &str) -> Result<Self> {
        let (index, mac) = route::in_netns(netns, async |handle| route::find(handle, name).await)
            .map_err(|error| {
            error.context(format!(
                "cannot find the device {name} in namespace {}",
                netns.id()
            ))
        })?;
        Ok(Self {
            netns: netns.clone(),
            name: name.to_owned(),
            index,
            mac,
        })
    }

    /// The namespace it is in.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its interface index, which means something only in its namespace.
    pub fn ifindex(&self) -> u32 {
        self.index
    }

    /// Its Ethernet address.
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// Adds an address; `prefix_len` in bits.
    ///
    /// # Errors
    /// The device has the address already, or the prefix is too long.
    pub fn add_address(&self, address: IpAddr, prefix_len: u8) -> Result<()> {
        self.change(
            &format!("add the address {address}/{prefix_len}"),
            async |handle| route::add_address(handle, self.index, address, prefix_len).await,
        )
    }

    /// Tells the device for good where a neighbour is, so that no packet waits for ARP or neighbour
    /// discovery.
    ///
    /// # Errors
    /// The kernel refuses the address.
    pub fn add_neighbour(&self, address: IpAddr, mac: Mac) -> Result<()> {
        self.change(&format!("add the neighbour {address}"), async |handle| {
            route::add_neighbour(handle, self.index, address, mac).await
        })
    }

    /// Brings the device up. It can send as soon as its peer is up too: see
    /// [`wait_until_ready`](Self::wait_until_ready).
    ///
    /// # Errors
    /// The device is gone.
    pub fn set_up(&self) -> Result<()> {
        self.change("bring it up", async |handle| {
            route::set_up(handle, self.index).await
        })
    }

    /// Sets the MTU, in bytes of Ethernet payload.
    ///
    /// # Errors
    /// It is out of the range of the device, or too large for an attached XDP program.
    pub fn set_mtu(&self, mtu: u32) -> Result<()> {
        self.change(&format!("set its MTU to {mtu}"), async |handle| {
            route::set_mtu(handle, self.index, mtu).await
        })
    }

    /// Waits until the device is up with a carrier and no address of it is tentative any more.
    ///
    /// # Errors
    /// That has not happened within `limit`; says what was missing.
    pub fn wait_until_ready(&self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            let mut missing = None;
            self.change("read its state", async |handle| {
                missing = route::what_is_missing(handle, self.index).await?;
                Ok(())
            })?;
            match missing {
                None => return Ok(()),
                Some(missing) if Instant::now() >= deadline => {
                    return Err(Error::new(format!(
                        "{} is not ready after {limit:?}: {missing}; is its peer up?",
                        self.name
                    )));
                }
                Some(_) => thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    fn change(
        &self,
        what: &str,
        request: impl AsyncFnOnce(&rtnetlink::Handle) -> Result<()> + Send,
    ) -> Result<()> {
        route::in_netns(&self.netns, request).map_err(|error| {
            error.context(format!("cannot configure {}: cannot {what}", self.name))
        })
    }
}

/// netlink would cut a long name short, and then not find it.
fn check_name(name: &str) -> Result<()> {
    let valid = (1..libc::IFNAMSIZ).contains(&name.len())
        && name != "."
        && name != ".."
        && !name
            .bytes()
            .any(|byte| byte == b'/' || byte == b':' || byte == 0 || byte.is_ascii_whitespace());
    match valid {
        true => Ok(()),
        false => Err(Error::new(format!(
            "{name:?} cannot name a network device: 1 to 15 bytes, no blank, slash or colon, not . \
             or .."
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_device_names_are_refused() {
        for name in ["", ".", "..", "a b", "a/b", "a:b", "sixteen-bytes-xx"] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        assert!(check_name("fifteen-bytes-x").is_ok());
    }
}

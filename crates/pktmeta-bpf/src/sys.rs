//! The few kernel calls that libbpf-rs does not have, each wrapped once.

use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::{
    ffi::{CString, OsStr, OsString},
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
};

/// Attaches a program: to an interface (`target` is its index) or a cgroup (its fd).
pub(crate) fn link_create(
    program: BorrowedFd<'_>,
    target: RawFd,
    attach_type: libbpf_sys::bpf_attach_type,
    flags: u32,
) -> io::Result<OwnedFd> {
    let options = libbpf_sys::bpf_link_create_opts {
        sz: size_of::<libbpf_sys::bpf_link_create_opts>() as _,
        flags,
        ..Default::default()
    };
    // SAFETY: options is a bpf_link_create_opts of the size it says and outlives the call.
    owned(unsafe {
        libbpf_sys::bpf_link_create(program.as_raw_fd(), target, attach_type, &options)
    })
}

/// Starts an iterator program, over the map if one is given, and returns the file that it writes.
pub(crate) fn iterate(program: BorrowedFd<'_>, map: Option<BorrowedFd<'_>>) -> io::Result<File> {
    let mut info = libbpf_sys::bpf_iter_link_info::default();
    let mut options = libbpf_sys::bpf_link_create_opts {
        sz: size_of::<libbpf_sys::bpf_link_create_opts>() as _,
        ..Default::default()
    };
    if let Some(map) = map {
        info.map.map_fd = map.as_raw_fd() as u32; // fds are not negative
        options.iter_info = &raw mut info;
        options.iter_info_len = size_of_val(&info) as u32;
    }
    let attach_type = libbpf_sys::BPF_TRACE_ITER;
    // SAFETY: options is a bpf_link_create_opts of the size it says; it and info outlive the call.
    let link = owned(unsafe {
        libbpf_sys::bpf_link_create(program.as_raw_fd(), 0, attach_type, &options)
    })?;
    // SAFETY: takes no memory of ours.
    owned(unsafe { libbpf_sys::bpf_iter_create(link.as_raw_fd()) }).map(File::from)
}

/// Detaches a link, however many hold it.
pub(crate) fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes no memory of ours.
    checked(unsafe { libbpf_sys::bpf_link_detach(link.as_raw_fd()) }).map(drop)
}

/// Pins a BPF object in a directory.
pub(crate) fn pin(object: BorrowedFd<'_>, directory: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let name = CString::new(name)?;
    let options = libbpf_sys::bpf_obj_pin_opts {
        sz: size_of::<libbpf_sys::bpf_obj_pin_opts>() as _,
        file_flags: libbpf_sys::BPF_F_PATH_FD,
        path_fd: directory.as_raw_fd(),
    };
    // SAFETY: name is NUL-terminated, options is of the size it says; both outlive the call.
    checked(unsafe { libbpf_sys::bpf_obj_pin_opts(object.as_raw_fd(), name.as_ptr(), &options) })
        .map(drop)
}

/// Opens a BPF object that is pinned in a directory.
pub(crate) fn open_pin(directory: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    let name = CString::new(name)?;
    let options = libbpf_sys::bpf_obj_get_opts {
        sz: size_of::<libbpf_sys::bpf_obj_get_opts>() as _,
        file_flags: libbpf_sys::BPF_F_PATH_FD,
        path_fd: directory.as_raw_fd(),
    };
    // SAFETY: name is NUL-terminated, options is of the size it says; both outlive the call.
    owned(unsafe { libbpf_sys::bpf_obj_get_opts(name.as_ptr(), &options) })
}

/// 64 bits from the kernel's random source. It waits for no one but at boot (getrandom(2)).
pub(crate) fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    // SAFETY: bytes is memory of the size that is passed.
    let read = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    match usize::try_from(read) {
        // So few bytes come at once, or none.
        Ok(read) if read == bytes.len() => Ok(u64::from_ne_bytes(bytes)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Opens a program by its id.
pub(crate) fn program_by_id(id: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes no memory of ours.
    owned(unsafe { libbpf_sys::bpf_prog_get_fd_by_id(id) })
}

/// The ids of the programs that run for a cgroup, its own and those of the cgroups above it.
pub(crate) fn effective_programs(
    cgroup: BorrowedFd<'_>,
    attach_type: libbpf_sys::bpf_attach_type,
) -> io::Result<Vec<u32>> {
    let mut ids = vec![0u32; 1024];
    let mut options = libbpf_sys::bpf_prog_query_opts {
        sz: size_of::<libbpf_sys::bpf_prog_query_opts>() as _,
        query_flags: libbpf_sys::BPF_F_QUERY_EFFECTIVE,
        prog_ids: ids.as_mut_ptr(),
        ..Default::default()
    };
    options.__bindgen_anon_1.prog_cnt = ids.len() as u32;
    // SAFETY: options is of the size it says and has room for prog_cnt ids; both outlive the call.
    checked(unsafe {
        libbpf_sys::bpf_prog_query_opts(cgroup.as_raw_fd(), attach_type, &mut options)
    })?;
    // SAFETY: both names of the union are the same u32.
    ids.truncate(unsafe { options.__bindgen_anon_1.prog_cnt } as usize);
    Ok(ids)
}

/// The link that attaches a program to an interface, if there is one and this process may look.
pub(crate) fn link_of_program(program: u32, ifindex: u32) -> Option<u32> {
    let mut id = 0;
    // SAFETY: takes a number and writes the next one.
    while unsafe { libbpf_sys::bpf_link_get_next_id(id, &mut id) } == 0 {
        // SAFETY: takes no memory of ours.
        let Ok(link) = owned(unsafe { libbpf_sys::bpf_link_get_fd_by_id(id) }) else {
            continue; // it is gone by now
        };
        let info = link_info(link.as_fd()).ok()?;
        if info.prog_id == program && link_target(&info) == Some(ifindex.into()) {
            return Some(id);
        }
    }
    None
}

/// The kernel's description of a link.
pub(crate) fn link_info(link: BorrowedFd<'_>) -> io::Result<libbpf_sys::bpf_link_info> {
    let mut info = libbpf_sys::bpf_link_info::default();
    let size = size_of_val(&info) as u32;
    // SAFETY: info is a bpf_link_info of the size that is passed.
    unsafe { info_by_fd(link, (&raw mut info).cast(), size) }?;
    Ok(info)
}

/// The target of an XDP, TCX or cgroup link: an interface's index or a cgroup's number; 0 once the
/// kernel has detached it. `None` for a link of another kind.
pub(crate) fn link_target(info: &libbpf_sys::bpf_link_info) -> Option<u64> {
    match info.type_ {
        libbpf_sys::BPF_LINK_TYPE_XDP | libbpf_sys::BPF_LINK_TYPE_TCX => {
            // SAFETY: XDP and TCX links both have the index first in the union
            // (bpf_xdp_link_fill_link_info, tcx_link_fill_info); any bytes are a valid u32.
            Some(unsafe { info.__bindgen_anon_1.xdp.ifindex }.into())
        }
        libbpf_sys::BPF_LINK_TYPE_CGROUP => {
            // SAFETY: what a cgroup link fills in (bpf_cgroup_link_fill_link_info); any bytes are
            // a valid u64.
            Some(unsafe { info.__bindgen_anon_1.cgroup.cgroup_id })
        }
        _ => None,
    }
}

/// Name and running cost of a loaded program.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProgramStats {
    /// Name, cut by the kernel to 15 bytes.
    pub name: String,
    /// The kernel's number for the program.
    pub id: u32,
    /// Nanoseconds spent in it while counting was on.
    pub run_time_ns: u64,
    /// How often it ran while counting was on.
    pub run_count: u64,
    /// Instructions that the verifier looked at.
    pub verified_instructions: u32,
}

impl ProgramStats {
    /// Asks the kernel about a program.
    ///
    /// # Errors
    /// The kernel's.
    pub fn of(program: BorrowedFd<'_>) -> io::Result<Self> {
        let mut info = libbpf_sys::bpf_prog_info::default();
        let size = size_of_val(&info) as u32;
        // SAFETY: info is a bpf_prog_info of the size that is passed; its pointers are null.
        unsafe { info_by_fd(program, (&raw mut info).cast(), size) }?;
        let name = info.name.iter().take_while(|&&byte| byte != 0);
        Ok(Self {
            name: name.map(|&byte| char::from(byte as u8)).collect(),
            id: info.id,
            run_time_ns: info.run_time_ns,
            run_count: info.run_cnt,
            verified_instructions: info.verified_insns,
        })
    }
}

/// See the crate's root.
#[derive(Debug)]
pub struct StatsEnabled {
    _fd: OwnedFd,
}

impl StatsEnabled {
    /// Starts counting.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no memory of ours.
        let fd = owned(unsafe { libbpf_sys::bpf_enable_stats(libbpf_sys::BPF_STATS_RUN_TIME) })?;
        Ok(Self { _fd: fd })
    }
}

/// Where an interface's XDP program runs.
///
/// Exhaustive: the kernel has these three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// After the driver has made an skb.
    Generic,
    /// On the device.
    Hardware,
}

/// The id of the XDP program on an interface, if there is one.
pub(crate) fn xdp_program(ifindex: u32) -> io::Result<Option<u32>> {
    Ok(xdp_on(ifindex)?.map(|(program, _)| program))
}

/// The id of the XDP program on an interface, if there is one, and where it runs.
pub(crate) fn xdp_on(ifindex: u32) -> io::Result<Option<(u32, XdpMode)>> {
    let options = xdp_query(ifindex)?;
    let programs = [
        (options.drv_prog_id, XdpMode::Native),
        (options.skb_prog_id, XdpMode::Generic),
        (options.hw_prog_id, XdpMode::Hardware),
    ];
    Ok(programs.into_iter().find(|&(program, _)| program != 0))
}

/// Whether an interface's driver says that it runs XDP programs.
pub(crate) fn xdp_in_driver(ifindex: u32) -> io::Result<bool> {
    /// linux/netdev.h
    const NETDEV_XDP_ACT_BASIC: u64 = 1;
    Ok(xdp_query(ifindex)?.feature_flags & NETDEV_XDP_ACT_BASIC != 0)
}

fn xdp_query(ifindex: u32) -> io::Result<libbpf_sys::bpf_xdp_query_opts> {
    let mut options = libbpf_sys::bpf_xdp_query_opts {
        sz: size_of::<libbpf_sys::bpf_xdp_query_opts>() as _,
        ..Default::default()
    };
    // SAFETY: options is a bpf_xdp_query_opts of the size it says and outlives the call.
    checked(unsafe { libbpf_sys::bpf_xdp_query(ifindex as i32, 0, &mut options) })?;
    Ok(options)
}

/// Index of the interface of this network namespace that has `name`, or has it as one of its
/// alternative names, of up to 127 bytes: `if_nametoindex` takes 15.
pub(crate) fn interface_index(name: &OsStr) -> io::Result<u32> {
    /// A `struct nlmsghdr` and a `struct ifinfomsg`.
    const HEADERS: usize = 16 + 16;
    const ATTRIBUTE: usize = 4;
    let name = CString::new(name.as_bytes())?;
    let name = name.as_bytes_with_nul();
    let (length, attribute) = (HEADERS + ATTRIBUTE + name.len(), ATTRIBUTE + name.len());
    let mut request = vec![0; HEADERS];
    request[..4].copy_from_slice(&u32::try_from(length).map_err(too_long)?.to_ne_bytes());
    request[4..6].copy_from_slice(&libc::RTM_GETLINK.to_ne_bytes());
    request[6..8].copy_from_slice(&(libc::NLM_F_REQUEST as u16).to_ne_bytes());
    request.extend(u16::try_from(attribute).map_err(too_long)?.to_ne_bytes());
    // It finds the first name too (rtnl_dev_get).
    request.extend(libc::IFLA_ALT_IFNAME.to_ne_bytes());
    request.extend(name);
    request.resize(length.next_multiple_of(4), 0);

    let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
    // Protocol 0 is NETLINK_ROUTE.
    let socket = net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    net::send(&socket, &request, SendFlags::empty())?;
    // Of the answer, which is longer, its headers say all.
    let mut answer = [0u8; HEADERS];
    let (received, _) = net::recv(&socket, &mut answer, RecvFlags::empty())?;
    let field = |at: usize| -> io::Result<[u8; 4]> {
        let bytes = answer[..received].get(at..at + 4);
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    };
    let kind = field(4)?;
    if u16::from_ne_bytes([kind[0], kind[1]]) == libc::NLMSG_ERROR as u16 {
        return Err(io::Error::from_raw_os_error(-i32::from_ne_bytes(field(
            16,
        )?)));
    }
    // Behind the family, the type and padding of the `struct ifinfomsg`.
    Ok(u32::from_ne_bytes(field(16 + 4)?))
}

fn too_long(_: std::num::TryFromIntError) -> io::Error {
    io::Error::from_raw_os_error(libc::ENAMETOOLONG)
}

/// Name of the interface with this index in this network namespace, if there is one.
pub(crate) fn interface_name(index: u32) -> io::Result<Option<OsString>> {
    let mut name = [0u8; libc::IF_NAMESIZE];
    // SAFETY: name has the IF_NAMESIZE bytes that the call may write.
    let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr().cast()) };
    if found.is_null() {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::ENXIO | libc::ENODEV) => Ok(None),
            _ => Err(error),
        };
    }
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    Ok(Some(OsStr::from_bytes(name).to_owned()))
}

/// The name of a user, if this host has one for it.
pub(crate) fn user_name(uid: u32) -> Option<String> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(uid)).then(|| name.into())
    })
}

/// What the packets of the interface with this index in this network namespace begin with: an
/// `ARPHRD_*` number, `net_device.type`.
pub(crate) fn interface_type(index: u32) -> io::Result<u16> {
    // SAFETY: zeros are a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // SAFETY: ifr_name has the IF_NAMESIZE bytes that the call may write.
    if unsafe { libc::if_indextoname(index, request.ifr_name.as_mut_ptr()) }.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: takes no memory of ours.
    let socket = owned(unsafe { libc::socket(libc::AF_UNIX, SOCKET_FLAGS, 0) })?;
    // SAFETY: request is an ifreq with a name, which the kernel fills and nobody else sees.
    checked(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFHWADDR, &raw mut request) })?;
    // SAFETY: the kernel wrote the address (dev_get_mac_address); any bytes are a valid sockaddr.
    Ok(unsafe { request.ifr_ifru.ifru_hwaddr.sa_family })
}

const SOCKET_FLAGS: i32 = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;

/// # Safety
/// `info` points to `size` bytes that the kernel may write, whose pointers, if any, are null.
unsafe fn info_by_fd(fd: BorrowedFd<'_>, info: *mut libc::c_void, size: u32) -> io::Result<()> {
    let mut size = size;
    // SAFETY: the caller's promise.
    checked(unsafe { libbpf_sys::bpf_obj_get_info_by_fd(fd.as_raw_fd(), info, &mut size) })
        .map(drop)
}

/// libbpf's calls return -1 and set errno, or return -errno; both are covered.
fn checked(result: i32) -> io::Result<i32> {
    match result {
        0.. => Ok(result),
        -1 => Err(io::Error::last_os_error()),
        _ => Err(io::Error::from_raw_os_error(-result)),
    }
}

fn owned(result: i32) -> io::Result<OwnedFd> {
    // SAFETY: a call that returns a new fd gave it to us alone.
    checked(result).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

//! A network namespace for each server, with a TUN device that the [`Switch`] owns; the clients, in the namespace of everybody, have one, too.

use std::{
    collections::BTreeSet,
    fs,
    io::IoSliceMut,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType, recvmsg,
    socketpair,
};

use super::switch::{Link, Switch};
use crate::{Fallible, power::call};

/// What the names of our namespaces begin with; the process that made them follows.
const PREFIX: &str = "quorate-torture-";
/// The clients' address ends so.
const CLIENTS: u8 = 254;
/// More servers than this there never are.
const DEVICES_MAX: usize = 16;
/// Opens TUN devices by name and hands them over through the socket that is its standard input. No safe wrapper makes this ioctl.
const OPEN: &str = "
import fcntl, os, socket, struct, sys
fds = []
for name in sys.argv[1:]:
    fd = os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, 0x400454ca, struct.pack('16sH22x', name.encode(), 0x1001))  # TUNSETIFF, IFF_TUN | IFF_NO_PI
    fds.append(fd)
socket.send_fds(socket.socket(fileno=0), [b'x'], fds)
";

/// The namespaces of one run; gone when dropped.
pub(crate) struct Network {
    namespaces: Vec<String>,
    subnet: u8,
    pub(crate) switch: Switch,
}

impl Network {
    /// Namespaces for so many servers.
    pub(crate) fn new(servers: usize, seed: u64) -> Fallible<Network> {
        let process = std::process::id();
        let subnet = free_subnet(process)?;
        let device = |n: usize| format!("qt{process}n{n}");
        let names: Vec<String> = (0..=servers).map(device).collect();
        let devices = open(&names)?;
        let mut network = Network {
            namespaces: Vec::new(),
            subnet,
            switch: Switch::start(devices, (1..=servers as u8).chain([CLIENTS]).collect(), seed),
        };
        for (n, name) in names.iter().enumerate().take(servers) {
            let namespace = format!("{PREFIX}{process}-n{}", n + 1);
            call("ip", &["netns", "add", &namespace])?;
            network.namespaces.push(namespace.clone());
            call("ip", &["link", "set", name, "netns", &namespace])?;
            call("ip", &["-n", &namespace, "link", "set", "lo", "up"])?;
            let address = format!("{}/24", network.address(n));
            call("ip", &["-n", &namespace, "address", "add", &address, "dev", name])?;
            call("ip", &["-n", &namespace, "link", "set", name, "up"])?;
        }
        let (name, address) = (&names[servers], format!("10.231.{subnet}.{CLIENTS}/24"));
        call("ip", &["address", "add", &address, "dev", name])?;
        call("ip", &["link", "set", name, "up"])?;
        Ok(network)
    }

    /// The address of a server.
    pub(crate) fn address(&self, server: usize) -> String {
        format!("10.231.{}.{}", self.subnet, server + 1)
    }

    /// Where its namespace is to be found.
    pub(crate) fn place(&self, server: usize) -> PathBuf {
        Path::new("/run/netns").join(&self.namespaces[server])
    }

    /// The switch's port of the clients.
    pub(crate) fn clients(&self) -> usize {
        self.namespaces.len()
    }

    /// Changes what is there from one port to another.
    pub(crate) fn change(&self, from: usize, to: usize, change: impl FnOnce(&mut Link)) {
        let mut link = self.switch.link(from, to);
        change(&mut link);
        self.switch.set(from, to, link);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for namespace in &self.namespaces {
            let _ = call("ip", &["netns", "delete", namespace]);
        }
    }
}

fn open(names: &[String]) -> Fallible<Vec<OwnedFd>> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let mut python = Command::new("python3")
        .args(["-c", OPEN])
        .args(names)
        .stdin(Stdio::from(theirs))
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start python3: {error}"))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DEVICES_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(&ours, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut devices = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            devices.extend(received);
        }
    }
    if devices.len() == names.len() {
        python.wait()?;
        return Ok(devices);
    }
    let said = python.wait_with_output()?;
    Err(format!("no TUN devices: {}", String::from_utf8_lossy(&said.stderr).trim()).into())
}

/// One that no other run on this machine uses.
fn free_subnet(process: u32) -> Fallible<u8> {
    let output = Command::new("ip").args(["-o", "-4", "address"]).output()?;
    let taken = String::from_utf8_lossy(&output.stdout).into_owned();
    (0..250)
        .map(|n| ((process + n) % 250) as u8)
        .find(|subnet| !taken.contains(&format!(" 10.231.{subnet}.")))
        .ok_or_else(|| {
            "every network from 10.231.0.0 to 10.231.249.0 is taken; are old runs still there?".into()
        })
}

/// Takes away what runs that were killed have left: theirs are the namespaces whose process is gone.
pub(crate) fn sweep() {
    for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(process) = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()) else {
            continue;
        };
        if Path::new("/proc").join(process).exists() {
            continue;
        }
        let pids = Command::new("ip").args(["netns", "pids", &name]).output();
        let pids =
            pids.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        for pid in pids.split_whitespace().collect::<BTreeSet<_>>() {
            let _ = call("kill", &["-9", pid]);
        }
        match call("ip", &["netns", "delete", &name]) {
            Ok(()) => println!("torture: removed the namespace {name} of a run that was killed"),
            Err(error) => println!("torture: a namespace of a run that was killed stays: {error}"),
        }
    }
}

/// Root, network namespaces, TUN devices, and the tools for them; otherwise what is missing.
pub(crate) fn lacks() -> Option<&'static str> {
    let works = |program: &str, argument: &str| {
        Command::new(program).arg(argument).output().is_ok_and(|output| output.status.success())
    };
    if !crate::power::is_root() {
        Some("root")
    } else if !Path::new("/dev/net/tun").exists() {
        Some("/dev/net/tun")
    } else if !Path::new("/proc/self/ns/net").exists() {
        Some("network namespaces")
    } else if !works("ip", "-V") {
        Some("ip (iproute2)")
    } else if !works("nsenter", "-V") {
        Some("nsenter (util-linux)")
    } else if !works("python3", "-V") {
        Some("python3")
    } else {
        None
    }
}

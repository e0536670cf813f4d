//! Telling systemd how the service stands (`Type=notify`), by its protocol: a datagram to the socket that `NOTIFY_SOCKET` names.

use std::{
    env,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

/// What systemd may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceState {
    /// The service answers.
    Ready,
    /// The service is ending.
    Stopping,
}

/// Tells systemd, if it started this process; `false` if it did not.
///
/// # Errors
/// The socket it named does not take the message. The service itself need not care.
pub fn notify(state: ServiceState) -> io::Result<bool> {
    match env::var_os("NOTIFY_SOCKET") {
        Some(socket) if !socket.is_empty() => notify_at(&socket, state).map(|()| true),
        _ => Ok(false),
    }
}

fn notify_at(socket: &OsStr, state: ServiceState) -> io::Result<()> {
    let address = match socket.as_bytes() {
        // An abstract name, which systemd writes with `@` for the leading zero byte.
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    let message = match state {
        ServiceState::Ready => "READY=1\n",
        ServiceState::Stopping => "STOPPING=1\n",
    };
    UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    fn received(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 64];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[test]
    fn systemd_hears_at_a_path_and_at_an_abstract_name() {
        let scratch = Scratch::new();
        let path = scratch.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        notify_at(path.as_os_str(), ServiceState::Ready).unwrap();
        assert_eq!(received(&socket), "READY=1\n");

        let name = format!("quorate-test-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        notify_at(OsStr::new(&format!("@{name}")), ServiceState::Stopping).unwrap();
        assert_eq!(received(&socket), "STOPPING=1\n");
    }
}

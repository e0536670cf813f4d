//! What a client may ask for.

macro_rules! opcodes {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)+) => {
        /// What a client may ask for. The numbers are those of the wire.
        ///
        /// Not here, as ZooKeeper makes them for itself alone: createSession (−10) and deleteContainer (20).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i32)]
        pub enum OpCode {
            $($(#[$doc])* $name = $number,)+
        }

        impl OpCode {
            /// All of them.
            pub const ALL: &[OpCode] = &[$(OpCode::$name,)+];

            /// The one with this number. None for a number that no client may send: ZooKeeper answers `Unimplemented` and closes.
            #[must_use]
            pub const fn from_number(number: i32) -> Option<OpCode> {
                match number {
                    $($number => Some(OpCode::$name),)+
                    _ => None,
                }
            }
        }
    };
}

opcodes! {
    /// Creates a znode; answered with its path.
    Create = 1,
    /// Deletes a znode.
    Delete = 2,
    /// The stat of a znode, if it exists.
    Exists = 3,
    /// The data and the stat.
    GetData = 4,
    /// Sets the data.
    SetData = 5,
    /// The ACL and the stat.
    GetAcl = 6,
    /// Sets the ACL.
    SetAcl = 7,
    /// The children's names.
    GetChildren = 8,
    /// Waits until this server has what was committed.
    Sync = 9,
    /// Keeps the session alive.
    Ping = 11,
    /// The children's names and the stat.
    GetChildren2 = 12,
    /// Is this the version? Only in a multi.
    Check = 13,
    /// Several writes, all or none.
    Multi = 14,
    /// Creates a znode; answered with its path and stat.
    Create2 = 15,
    /// Changes the members of the ensemble.
    Reconfig = 16,
    /// Is there such a watch?
    CheckWatches = 17,
    /// Takes a watch back.
    RemoveWatches = 18,
    /// Creates a container.
    CreateContainer = 19,
    /// Creates a znode with a time to live.
    CreateTtl = 21,
    /// Several reads, each with its own result.
    MultiRead = 22,
    /// Says who the client is.
    Auth = 100,
    /// Brings along the watches of a connection before.
    SetWatches = 101,
    /// A step of SASL.
    Sasl = 102,
    /// The session's own ephemerals.
    GetEphemerals = 103,
    /// How many znodes are below.
    GetAllChildrenNumber = 104,
    /// [`OpCode::SetWatches`], with the persistent ones.
    SetWatches2 = 105,
    /// Sets a persistent watch.
    AddWatch = 106,
    /// Who the server takes the client for.
    WhoAmI = 107,
    /// Ends the session.
    CloseSession = -11,
}

impl OpCode {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> i32 {
        self as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_and_what_zookeeper_keeps_to_itself_does_not() {
        for op in OpCode::ALL {
            assert_eq!(OpCode::from_number(op.number()), Some(*op));
        }
        for number in [0, -1, -10, 10, 20, 23, 99, 108, i32::MIN, i32::MAX] {
            assert_eq!(OpCode::from_number(number), None, "{number}");
        }
    }
}

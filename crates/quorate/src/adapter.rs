//! From the embedder's [`Machine`] to the contract that a log drives.

use std::{hash::Hasher, sync::Arc};

use bytes::Bytes;
use quorate_consensus::{
    DecodeError, Fingerprint, Placed, Position, Reader, RestoreError, StateMachine, Writer,
};

use crate::Machine;

/// A machine, and how many commands it has executed.
#[derive(Clone, Debug)]
pub(crate) struct Adapter<M> {
    machine: Arc<M>,
    commands: u64,
}

impl<M> Adapter<M> {
    pub(crate) fn new(machine: M) -> Adapter<M> {
        Adapter { machine: Arc::new(machine), commands: 0 }
    }
}

/// The first byte of a snapshot.
const VERSION: u8 = 1;

impl<M: Machine> StateMachine for Adapter<M> {
    type Effect = Bytes;
    type Response = Bytes;
    type Event = ();
    type View = Arc<M>;
    type Snapshot = Pieces;

    fn evaluate(&mut self, _at: Position, command: &Bytes) -> Bytes {
        command.clone()
    }

    fn changes(_effect: &Bytes) -> bool {
        true
    }

    fn number(&self) -> u64 {
        self.commands
    }

    fn place(&mut self, effect: Bytes, number: u64) -> Placed<Bytes, ()> {
        self.commands = number;
        Placed { response: Arc::make_mut(&mut self.machine).apply(&effect).into(), events: Vec::new() }
    }

    fn view(&self) -> Arc<M> {
        Arc::clone(&self.machine)
    }

    fn snapshot(&self) -> Pieces {
        let state = self.machine.snapshot();
        let mut header = Writer::new();
        header.u8(VERSION);
        header.u64(self.commands);
        header.u64(state.len() as u64);
        Pieces { header: Some(header.finish()), state: state.into() }
    }

    fn restore(chunks: &mut dyn Iterator<Item = Bytes>) -> Result<Self, RestoreError> {
        let mut header = Reader::new(chunks.next().ok_or(RestoreError::Incomplete)?);
        let version = header.u8()?;
        if version != VERSION {
            return Err(RestoreError::Version(version.into()));
        }
        let (commands, length) = (header.u64()?, header.u64()?);
        header.finish()?;
        let mut state = Vec::new();
        while (state.len() as u64) < length {
            state.extend_from_slice(&chunks.next().ok_or(RestoreError::Incomplete)?);
        }
        Ok(Adapter { machine: Arc::new(M::restore(&state)), commands })
    }

    fn digest(&self) -> u64 {
        let mut hasher = Fingerprint::default();
        hasher.write_u64(self.commands);
        hasher.write(&self.machine.snapshot());
        hasher.finish()
    }

    fn size_bytes(&self) -> u64 {
        self.machine.size_bytes()
    }

    fn encode_response(response: &Bytes, to: &mut Writer) {
        to.bytes(response);
    }

    fn decode_response(from: &mut Reader) -> Result<Bytes, DecodeError> {
        from.bytes()
    }
}

/// A snapshot on its way out.
#[derive(Debug)]
pub(crate) struct Pieces {
    header: Option<Bytes>,
    state: Bytes,
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if let Some(header) = self.header.take() {
            return Some(header);
        }
        let length = self.state.len().min(64 * 1024);
        (length > 0).then(|| self.state.split_to(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Text(Vec<u8>);

    impl Machine for Text {
        fn apply(&mut self, command: &[u8]) -> Vec<u8> {
            self.0.extend_from_slice(command);
            vec![command.len() as u8]
        }

        fn query(&self, _question: &[u8]) -> Vec<u8> {
            self.0.clone()
        }

        fn snapshot(&self) -> Vec<u8> {
            self.0.clone()
        }

        fn restore(bytes: &[u8]) -> Self {
            Text(bytes.to_vec())
        }
    }

    #[test]
    fn a_snapshot_is_the_state_whatever_its_length() {
        for length in [0, 1, 64 * 1024, 200_000] {
            let mut adapter = Adapter::new(Text(Vec::new()));
            adapter.place(Bytes::from(vec![7; length]), 1);
            let pieces: Vec<Bytes> = adapter.snapshot().collect();
            assert!(
                pieces.iter().all(|piece| piece.len() <= <Adapter<Text> as StateMachine>::CHUNK_BYTES_MAX)
            );
            let restored = Adapter::<Text>::restore(&mut pieces.clone().into_iter()).unwrap();
            assert_eq!((restored.machine.0.len(), restored.number()), (length, 1));
            assert_eq!(restored.digest(), adapter.digest());
            if length > 0 {
                let cut = pieces[..pieces.len() - 1].to_vec();
                assert!(Adapter::<Text>::restore(&mut cut.into_iter()).is_err());
            }
        }
    }

    #[test]
    fn a_view_stays_still_while_commands_go_on() {
        let mut adapter = Adapter::new(Text(Vec::new()));
        let before = adapter.view();
        assert_eq!(adapter.place(Bytes::from_static(b"a"), 1).response, [1_u8][..]);
        assert_eq!(before.query(b""), b"");
        assert_eq!(adapter.view().query(b""), b"a");
    }
}

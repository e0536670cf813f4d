//! Bytes of members and groups.

use quorate_consensus::{DecodeError, GroupId, Incarnation, NodeId, Reader, Writer};

use crate::{
    EngineKind, GroupKind, GroupPlace, MEMBERS_MAX, Member, NAME_BYTES_MAX, URL_BYTES_MAX, URLS_MAX,
};

pub(crate) fn write_strings(strings: &[String], to: &mut Writer) {
    to.varint(strings.len() as u64);
    for string in strings {
        to.bytes(string.as_bytes());
    }
}

pub(crate) fn read_strings(from: &mut Reader) -> Result<Vec<String>, DecodeError> {
    let count = from.count(1)?;
    if count > URLS_MAX {
        return Err(DecodeError::Invalid { what: "number of addresses" });
    }
    let strings = (0..count).map(|_| from.string()).collect::<Result<Vec<_>, _>>()?;
    if strings.iter().any(|string| string.len() > URL_BYTES_MAX) {
        return Err(DecodeError::Invalid { what: "length of an address" });
    }
    Ok(strings)
}

pub(crate) fn write_member(member: &Member, to: &mut Writer) {
    to.u64(member.id.0);
    to.bytes(member.name.as_bytes());
    write_strings(&member.peer_urls, to);
    write_strings(&member.client_urls, to);
    to.bool(member.learner);
    to.bool(member.incarnation.is_some());
    if let Some(incarnation) = member.incarnation {
        to.u64(incarnation.0);
    }
}

pub(crate) fn read_member(from: &mut Reader) -> Result<Member, DecodeError> {
    let member = Member {
        id: NodeId(from.u64()?),
        name: from.string()?,
        peer_urls: read_strings(from)?,
        client_urls: read_strings(from)?,
        learner: from.bool()?,
        incarnation: if from.bool()? { Some(Incarnation(from.u64()?)) } else { None },
    };
    if member.name.len() > NAME_BYTES_MAX {
        return Err(DecodeError::Invalid { what: "length of a name" });
    }
    Ok(member)
}

pub(crate) fn write_members(members: &[Member], to: &mut Writer) {
    to.varint(members.len() as u64);
    for member in members {
        write_member(member, to);
    }
}

pub(crate) fn read_members(from: &mut Reader) -> Result<Vec<Member>, DecodeError> {
    let count = from.count(12)?;
    if count > MEMBERS_MAX {
        return Err(DecodeError::Invalid { what: "number of members" });
    }
    (0..count).map(|_| read_member(from)).collect()
}

pub(crate) fn write_groups(groups: &[GroupPlace], to: &mut Writer) {
    to.varint(groups.len() as u64);
    for group in groups {
        to.varint(group.id.0);
        to.u8(match group.kind {
            GroupKind::Meta => 0,
            GroupKind::Keys => 1,
            GroupKind::Tree => 2,
            GroupKind::Order => 3,
        });
        to.u8(match group.engine {
            EngineKind::Raft => 0,
            EngineKind::Zab => 1,
        });
    }
}

pub(crate) fn read_groups(from: &mut Reader) -> Result<Vec<GroupPlace>, DecodeError> {
    let count = from.count(3)?;
    let mut groups = Vec::new();
    for _ in 0..count {
        let id = GroupId(from.varint()?);
        let kind = match from.u8()? {
            0 => GroupKind::Meta,
            1 => GroupKind::Keys,
            2 => GroupKind::Tree,
            3 => GroupKind::Order,
            kind => return Err(DecodeError::Unknown { what: "group kind", value: u64::from(kind) }),
        };
        let engine = match from.u8()? {
            0 => EngineKind::Raft,
            1 => EngineKind::Zab,
            kind => return Err(DecodeError::Unknown { what: "engine", value: u64::from(kind) }),
        };
        groups.push(GroupPlace { id, kind, engine });
    }
    Ok(groups)
}

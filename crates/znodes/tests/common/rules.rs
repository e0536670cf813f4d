//! ZooKeeper's rules about single things, written plainly: paths, ACLs, versions, the text of quotas.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_znodes::*;

pub type Outcome<T> = Result<T, ZnodeError>;

/// Java's own loop over UTF-16, as ZooKeeper has it.
pub fn valid(path: &str) -> bool {
    let chars: Vec<u16> = path.encode_utf16().collect();
    let (slash, dot) = (u16::from(b'/'), u16::from(b'.'));
    if chars.first() != Some(&slash) {
        return false;
    }
    if chars.len() > 1 && chars.last() == Some(&slash) {
        return false;
    }
    for at in 1..chars.len() {
        let (c, before) = (chars[at], chars[at - 1]);
        let ends = at + 1 == chars.len() || chars[at + 1] == slash;
        let wrong = c == slash && before == slash
            || c == dot && before == dot && chars[at - 2] == slash && ends
            || c == dot && before == slash && ends
            || c <= 0x1f
            || (0x7f..=0x9f).contains(&c)
            || (0xd800..=0xf8ff).contains(&c)
            || c >= 0xfff0;
        if wrong {
            return false;
        }
    }
    true
}

/// `""` is the root, as ZooKeeper sees it when it has cut a name off.
pub fn normal(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

pub fn cut(path: &str) -> Outcome<(&str, &str)> {
    let slash = path.rfind('/').ok_or(ZnodeError::BadArguments)?;
    if path.contains('\0') { Err(ZnodeError::BadArguments) } else { Ok((&path[..slash], &path[slash + 1..])) }
}

pub fn v4(text: &str) -> Option<u32> {
    let parts: Vec<&str> = text.split('.').collect();
    let digits = |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    if parts.len() != 4 || !parts.iter().all(digits) {
        return None;
    }
    // Zeros before a number change nothing, as in ZooKeeper.
    let numbers: Option<Vec<u8>> = parts.iter().map(|part| part.parse().ok()).collect();
    Some(u32::from_be_bytes(numbers?.try_into().ok()?))
}

pub fn permits(acl: &[Acl], wanted: i32, who: &[Identity]) -> bool {
    if who.iter().any(|who| who.scheme == "super") {
        return true;
    }
    for entry in acl {
        if entry.permissions.0 & wanted == 0 {
            continue;
        }
        let rule = &entry.identity;
        if rule.scheme == "world" {
            return true;
        }
        for who in who.iter().filter(|who| who.scheme == rule.scheme) {
            if who.scheme != "ip" && who.id == rule.id {
                return true;
            }
            if who.scheme == "ip" {
                let (net, bits) = rule.id.split_once('/').unwrap_or((&rule.id, "32"));
                let mask = (u64::from(u32::MAX) << (32 - bits.parse::<u32>().unwrap())) as u32;
                if v4(net).unwrap() & mask == v4(&who.id).unwrap() & mask {
                    return true;
                }
            }
        }
    }
    false
}

pub fn fix(acl: &[Acl], who: &[Identity]) -> Outcome<Vec<Acl>> {
    let mut unique: Vec<&Acl> = Vec::new();
    for entry in acl {
        if !unique.contains(&entry) {
            unique.push(entry);
        }
    }
    let mut fixed = Vec::new();
    for entry in unique {
        let Identity { scheme, id } = &entry.identity;
        match scheme.as_str() {
            "world" if id == "anyone" => fixed.push(entry.clone()),
            "auth" => {
                let real: Vec<&Identity> =
                    who.iter().filter(|who| ["digest", "x509"].contains(&&*who.scheme)).collect();
                if real.is_empty() {
                    return Err(ZnodeError::InvalidAcl);
                }
                fixed.extend(
                    real.into_iter().map(|who| Acl { permissions: entry.permissions, identity: who.clone() }),
                );
            }
            "digest" if id.split(':').count() == 2 => fixed.push(entry.clone()),
            "ip" if v4(id.split('/').next().unwrap()).is_some() => fixed.push(entry.clone()),
            "x509" if id.contains('=') => fixed.push(entry.clone()),
            _ => return Err(ZnodeError::InvalidAcl),
        }
    }
    if fixed.is_empty() { Err(ZnodeError::InvalidAcl) } else { Ok(fixed) }
}

pub fn bump(current: i32, expected: i32) -> Outcome<i32> {
    if expected != -1 && expected != current {
        return Err(ZnodeError::BadVersion);
    }
    let next = current.wrapping_add(1);
    Ok(if next == -1 { 0 } else { next })
}

/// The pairs in the data of a quota; none if something in it is no pair.
pub fn pairs(data: &Option<Bytes>) -> Option<BTreeMap<String, i64>> {
    let text = String::from_utf8_lossy(data.as_ref()?).into_owned();
    let mut pairs = BTreeMap::new();
    for part in text.split([',', ';']).filter(|part| !part.is_empty()) {
        // Java's split forgets empty words at the end.
        let mut words = part.trim_end_matches('=').split('=');
        let (name, number) = (words.next().filter(|name| !name.is_empty())?, words.next()?);
        pairs.insert(name.to_owned(), if number.is_empty() { -1 } else { number.parse().ok()? });
    }
    Some(pairs)
}

/// Of which path this znode keeps a quota, and whether limits or stats.
pub fn quota_of(path: &str) -> Option<(&str, &str)> {
    let (of, name) = path.strip_prefix("/zookeeper/quota")?.rsplit_once('/')?;
    (of.len() > 1 && ["zookeeper_limits", "zookeeper_stats"].contains(&name)).then_some((of, name))
}

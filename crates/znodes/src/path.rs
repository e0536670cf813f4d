//! Paths: which ones ZooKeeper accepts, and how they are taken apart.

use crate::ZnodeError;

/// Is this a path, by ZooKeeper's rules?
///
/// It begins with `/` and does not end with one (the root apart); no name is empty, `.` or `..`; no control character, no surrogate
/// (so nothing beyond the first 65 536 code points, which Java writes as two of them), none of the private use area or the specials.
///
/// # Errors
/// [`BadArguments`](ZnodeError::BadArguments).
pub fn check_path(path: &str) -> Result<(), ZnodeError> {
    if path == "/" {
        return Ok(());
    }
    let names = path.strip_prefix('/').ok_or(ZnodeError::BadArguments)?;
    for name in names.split('/') {
        if matches!(name, "" | "." | "..") || name.chars().any(is_forbidden) {
            return Err(ZnodeError::BadArguments);
        }
    }
    Ok(())
}

fn is_forbidden(character: char) -> bool {
    matches!(
        character,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{ffff}' | '\u{10000}'..
    )
}

/// The path of the parent, with the empty string for the root, and the name. ZooKeeper takes paths apart before it looks at them
/// closely, so the path may be any string.
///
/// # Errors
/// [`BadArguments`](ZnodeError::BadArguments) for a path without a slash, or with a NUL.
pub(crate) fn split(path: &str) -> Result<(&str, &str), ZnodeError> {
    match path.rsplit_once('/') {
        Some(parts) if !path.contains('\0') => Ok(parts),
        Some(_) | None => Err(ZnodeError::BadArguments),
    }
}

/// The path of the parent of a znode that exists and is not the root.
pub(crate) fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(slash) => &path[..slash],
    }
}

/// The name of a znode that is not the root.
pub(crate) fn name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// The znodes that are always there.
pub(crate) fn is_reserved(path: &str) -> bool {
    matches!(path, "/" | "/zookeeper" | "/zookeeper/quota" | "/zookeeper/config")
}

/// The ending of a sequential name: ten digits, or a minus and ten digits once the counter has overflowed.
pub(crate) fn sequence(counter: i32) -> String {
    format!("{counter:010}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn z10_paths_are_those_that_zookeeper_accepts() {
        for good in [
            "/",
            "/a",
            "/a/b",
            "/...",
            "/..a",
            "/a..",
            "/.a/b.",
            "/a b",
            "/ü",
            "/\u{d7ff}",
            "/\u{f900}",
            "/\u{ffef}",
        ] {
            assert_eq!(check_path(good), Ok(()), "{good:?}");
        }
        for bad in [
            "",
            "a",
            "a/b",
            "/a/",
            "//",
            "//a",
            "/a//b",
            "/.",
            "/..",
            "/./a",
            "/a/.",
            "/a/../b",
            "/a\0",
            "/\u{1}",
            "/\u{1f}",
            "/\u{7f}",
            "/\u{9f}",
            "/\u{e000}",
            "/\u{f8ff}",
            "/\u{fff0}",
            "/\u{ffff}",
            "/\u{10000}",
            "/😀",
        ] {
            assert_eq!(check_path(bad), Err(ZnodeError::BadArguments), "{bad:?}");
        }
    }

    #[test]
    fn k7_sequences_are_ten_digits_and_overflow_with_a_sign() {
        assert_eq!(sequence(0), "0000000000");
        assert_eq!(sequence(i32::MAX), "2147483647");
        assert_eq!(sequence(i32::MIN), "-2147483648");
        assert_eq!(sequence(-1), "-000000001");
    }
}

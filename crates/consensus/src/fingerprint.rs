//! Hashes that are the same on every machine and in every run.

use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A 64-bit hash with a fixed function: the same bytes give the same number on every machine, in every build, for ever. Not for
/// secrets and not against attackers: keys that a client chooses go into ordered maps.
#[derive(Clone, Copy, Debug)]
pub struct Fingerprint(u64);

impl Default for Fingerprint {
    fn default() -> Self {
        Fingerprint(0x9e37_79b9_7f4a_7c15)
    }
}

impl Fingerprint {
    fn mix(&mut self, word: u64) {
        let x = (self.0 ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd);
        self.0 = (x ^ (x >> 32)).wrapping_mul(0xc4ce_b9fe_1a85_ec53).rotate_left(23);
    }
}

impl Hasher for Fingerprint {
    fn finish(&self) -> u64 {
        let x = (self.0 ^ (self.0 >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        x ^ (x >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.mix(u64::from_le_bytes(chunk.try_into().expect("chunks of eight")));
        }
        let mut last = [0u8; 8];
        last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
        self.mix(u64::from_le_bytes(last) ^ ((bytes.len() as u64) << 56));
    }

    fn write_u8(&mut self, value: u8) {
        self.mix(u64::from(value));
    }
    fn write_u16(&mut self, value: u16) {
        self.mix(u64::from(value));
    }
    fn write_u32(&mut self, value: u32) {
        self.mix(u64::from(value));
    }
    fn write_u64(&mut self, value: u64) {
        self.mix(value);
    }
    fn write_usize(&mut self, value: usize) {
        self.mix(value as u64);
    }
}

/// The fingerprint of one value.
pub fn fingerprint_of<T: Hash + ?Sized>(value: &T) -> u64 {
    let mut hasher = Fingerprint::default();
    value.hash(&mut hasher);
    hasher.finish()
}

/// A map for look-ups alone: a fixed hash, and no way to walk it, so that no order can leak into behaviour.
#[derive(Clone, Debug)]
#[allow(clippy::disallowed_types, reason = "this is the wrapper that hides the order")]
pub struct FixedMap<K, V>(std::collections::HashMap<K, V, BuildHasherDefault<Fingerprint>>);

/// A set for look-ups alone, as [`FixedMap`].
pub type FixedSet<K> = FixedMap<K, ()>;

impl<K, V> Default for FixedMap<K, V> {
    fn default() -> Self {
        FixedMap(Default::default())
    }
}

impl<K: Eq + Hash, V> FixedMap<K, V> {
    /// An empty map.
    #[must_use]
    pub fn new() -> Self {
        FixedMap::default()
    }
    /// The value of `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key)
    }
    /// The value of `key`, to change.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.0.get_mut(key)
    }
    /// Sets the value of `key`; the one before, if any.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.insert(key, value)
    }
    /// Takes the value of `key` out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.0.remove(key)
    }
    /// Is there a value of `key`?
    pub fn contains_key(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }
    /// How many keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
    /// No keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_never_changes_between_builds() {
        assert_eq!(fingerprint_of(&(1u64, 2u64)), FIXED_PAIR);
        assert_ne!(fingerprint_of(&(1u64, 2u64)), fingerprint_of(&(2u64, 1u64)));
        assert_ne!(fingerprint_of(b"a".as_slice()), fingerprint_of(b"a\0".as_slice()));
    }

    const FIXED_PAIR: u64 = 4_906_954_976_504_611_614;
}

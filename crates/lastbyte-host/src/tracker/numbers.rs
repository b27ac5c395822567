//! Maps by numbers that the kernel gives: no peer can choose them, so a quick
//! hash is safe.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map by the kernel's address or cookie of a socket.
pub(super) type ByNumber<V> = HashMap<u64, V, BuildHasherDefault<Quick>>;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Quick(u64);

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // The finisher of MurmurHash3: a map looks at the highest and lowest bits.
        let mut mixed = self.0 ^ number;
        mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        self.0 = mixed ^ (mixed >> 33);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    #[test]
    fn cookies_and_addresses_spread_over_the_bits_that_a_map_looks_at() {
        let build = BuildHasherDefault::<Quick>::default();
        for step in [1, 64, 2368, 4096] {
            let hashes = (0..4096u64).map(|n| build.hash_one(0xffff_8880_0000_0000 + n * step));
            let (mut low, mut high) = (HashSet::new(), HashSet::new());
            for hash in hashes {
                low.insert(hash & 4095);
                high.insert(hash >> 57);
            }
            // As many of 4096 slots are hit as by chance (63 %), or more.
            assert!(low.len() > 2400, "{step}: {} slots", low.len());
            assert_eq!(high.len(), 128, "{step}");
        }
    }
}

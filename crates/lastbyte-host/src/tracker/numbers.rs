//! Maps by numbers that the kernel gives: no peer can choose them, so a quick
//! hash is safe. foldhash spreads addresses of equally large sockets as well as chance;
//! rustc-hash put 4096 of them into 1309 slots.

use std::collections::HashMap;

use foldhash::quality::FixedState;

/// A map by the kernel's address or cookie of a socket.
pub(super) type ByNumber<V> = HashMap<u64, V, FixedState>;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    #[test]
    fn cookies_and_addresses_spread_over_the_bits_that_a_map_looks_at() {
        let build = FixedState::default();
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

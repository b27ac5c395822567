//! Reads of fixed-size values at an offset into bytes whose length nobody vouches for.
//!
//! Each returns `None` where the value would reach past the end, and never panics.

/// Returns the `N` bytes at `at`.
#[inline]
#[must_use]
pub fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Returns the `u8` at `at`.
#[inline]
#[must_use]
pub fn u8(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

/// Returns the `u16` at `at`, in the machine's byte order.
#[inline]
#[must_use]
pub fn u16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_ne_bytes)
}

/// Returns the `u16` at `at`, in network byte order.
#[inline]
#[must_use]
pub fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

/// Returns the `u32` at `at`, in the machine's byte order.
#[inline]
#[must_use]
pub fn u32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_ne_bytes)
}

/// Returns the `i32` at `at`, in the machine's byte order.
#[inline]
#[must_use]
pub fn i32(bytes: &[u8], at: usize) -> Option<i32> {
    array(bytes, at).map(i32::from_ne_bytes)
}

/// Returns the `u64` at `at`, in the machine's byte order.
#[inline]
#[must_use]
pub fn u64(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; 9] = [1, 2, 3, 4, 5, 6, 7, 8, 9];

    #[test]
    fn values_are_read_up_to_the_last_byte_and_not_beyond() {
        assert_eq!((u8(&BYTES, 8), u8(&BYTES, 9)), (Some(9), None));
        assert_eq!(u16(&BYTES, 7), Some(u16::from_ne_bytes([8, 9])));
        assert_eq!(u16(&BYTES, 8), None);
        assert_eq!(be16(&BYTES, 0), Some(0x0102));
        assert_eq!(u32(&BYTES, 5), Some(u32::from_ne_bytes([6, 7, 8, 9])));
        assert_eq!(u32(&BYTES, 6), None);
        assert_eq!(i32(&(-2i32).to_ne_bytes(), 0), Some(-2));
        assert_eq!(
            u64(&BYTES, 1),
            Some(u64::from_ne_bytes([2, 3, 4, 5, 6, 7, 8, 9]))
        );
        assert_eq!(u64(&BYTES, 2), None);
    }

    #[test]
    fn an_offset_beyond_all_memory_is_none() {
        assert_eq!(u64(&BYTES, usize::MAX), None);
        assert_eq!(array::<0>(&BYTES, 9), Some([]));
        assert_eq!(array::<0>(&BYTES, 10), None);
    }
}

//! A page of a trace instance's buffer, as `per_cpu/cpuN/trace_pipe_raw` gives
//! it (`include/linux/ring_buffer.h`; the layout is the file
//! `events/header_page`).

use lastbyte_tcp::bytes;

/// One page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page<'a> {
    time: u64,
    data: &'a [u8],
    /// Whether records before it were dropped because nobody read them.
    pub missed: bool,
}

const PADDING: u32 = 29;
const TIME_EXTEND: u32 = 30;
const TIME_STAMP: u32 = 31;

impl<'a> Page<'a> {
    /// Reads the header. `None` when it is cut off.
    #[must_use]
    pub(crate) fn parse(page: &'a [u8]) -> Option<Self> {
        const MISSED: u64 = 1 << 31;
        const LENGTH: u64 = (1 << 20) - 1;
        let start = 8 + size_of::<usize>();
        let commit = match size_of::<usize>() {
            4 => bytes::u32(page, 8)?.into(),
            _ => bytes::u64(page, 8)?,
        };
        let length = usize::try_from(commit & LENGTH).ok()?;
        Some(Self {
            time: bytes::u64(page, 0)?,
            data: page.get(start..)?.get(..length)?,
            missed: commit & MISSED != 0,
        })
    }

    /// When it begins.
    #[must_use]
    pub(crate) const fn time(&self) -> u64 {
        self.time
    }

    /// The records and their times, up to the first whose length cannot be true.
    pub(crate) fn records(&self) -> impl Iterator<Item = (u64, &'a [u8])> {
        let mut time = self.time;
        let mut rest = self.data;
        std::iter::from_fn(move || {
            loop {
                let header = bytes::u32(rest, 0)?;
                let (kind, delta) = (header & 31, u64::from(header >> 5));
                let body = rest.get(4..)?;
                match kind {
                    TIME_EXTEND => {
                        let high = u64::from(bytes::u32(body, 0)?) << 27;
                        time = time.wrapping_add(high).wrapping_add(delta);
                        rest = body.get(4..)?;
                    }
                    TIME_STAMP => {
                        let high = u64::from(bytes::u32(body, 0)?) << 27;
                        // Absolute, with the highest bits as they were.
                        time = time & !((1 << 59) - 1) | high | delta;
                        rest = body.get(4..)?;
                    }
                    PADDING => {
                        // The rest of the page, or a record that was taken back.
                        let length = usize::try_from(bytes::u32(body, 0)?).ok()?;
                        if delta == 0 {
                            return None;
                        }
                        time = time.wrapping_add(delta);
                        rest = body.get(length..)?;
                    }
                    _ => {
                        time = time.wrapping_add(delta);
                        let (at, length) = match kind {
                            // The length is in the first word, itself included.
                            0 => (
                                4,
                                usize::try_from(bytes::u32(body, 0)?).ok()?.checked_sub(4)?,
                            ),
                            words => (0, words as usize * 4),
                        };
                        let record = body.get(at..)?.get(..length)?;
                        rest = body.get(at + length..)?;
                        return Some((time, record));
                    }
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[cfg(target_pointer_width = "64")]
    #[test]
    fn records_carry_the_time_that_passed() {
        let mut page = 1000u64.to_ne_bytes().to_vec();
        let mut data = Vec::new();
        data.extend((5u32 << 5 | 1).to_ne_bytes());
        data.extend(*b"abcd");
        data.extend((1u32 << 5 | TIME_EXTEND).to_ne_bytes());
        data.extend(1u32.to_ne_bytes());
        data.extend((2u32 << 5).to_ne_bytes());
        data.extend(8u32.to_ne_bytes());
        data.extend(*b"efgh");
        page.extend((data.len() as u64).to_ne_bytes());
        page.extend(data);
        let page = Page::parse(&page).expect("whole");
        let records: Vec<_> = page.records().collect();
        let later = 1005 + (1 << 27) + 1 + 2;
        assert_eq!(records, [(1005, &b"abcd"[..]), (later, &b"efgh"[..])]);
        assert!(!page.missed);
    }

    proptest! {
        #[test]
        fn any_bytes_end(page in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Some(page) = Page::parse(&page) {
                prop_assert!(page.records().count() <= 300);
            }
        }
    }
}

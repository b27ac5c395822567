//! Records of a perf ring buffer ([perf_event_open(2)]), sampled with
//! `PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_RAW` and `sample_id_all`.
//!
//! [perf_event_open(2)]: https://man7.org/linux/man-pages/man2/perf_event_open.2.html

use lastbyte_tcp::bytes;

use crate::process::Comm;

const LOST: u32 = 2;
const COMM: u32 = 3;
const EXIT: u32 = 4;
const FORK: u32 = 7;
const SAMPLE: u32 = 9;
const HEADER: usize = 8;

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    /// A tracepoint fired.
    Sample {
        /// The process that was running; whether it had to do with the event
        /// depends on the context.
        pid: u32,
        /// Nanoseconds of the clock the event was opened with.
        time: u64,
        /// What the tracepoint wrote, for the layout of its `format` file.
        raw: &'a [u8],
    },
    /// The ring was full: records were dropped.
    Lost {
        /// How many.
        count: u64,
        /// When there was room again.
        time: u64,
    },
    /// A process took another name.
    Comm {
        /// Whose.
        pid: u32,
        /// Which thread's; the process's own name is that of `tid == pid`.
        tid: u32,
        /// When.
        time: u64,
        /// The name.
        comm: Comm,
    },
    /// A process was forked, and has its parent's name.
    Fork {
        /// The new process.
        pid: u32,
        /// Its parent.
        parent: u32,
        /// When.
        time: u64,
    },
    /// A thread ended.
    Exit {
        /// Its process.
        pid: u32,
        /// Itself.
        tid: u32,
        /// When.
        time: u64,
    },
    /// Of no interest here.
    Other,
}

impl<'a> Record<'a> {
    /// The length of the record that starts here, header included, once the
    /// header is there and tells a length that can be true.
    #[must_use]
    pub(crate) fn length(record: &[u8]) -> Option<usize> {
        let size = usize::from(bytes::u16(record, 6)?);
        (size >= HEADER).then_some(size)
    }

    /// Reads one record; `None` when it is cut off.
    #[must_use]
    pub(crate) fn parse(record: &'a [u8]) -> Option<Self> {
        let body = record.get(HEADER..Self::length(record)?)?;
        Some(match bytes::u32(record, 0)? {
            SAMPLE => {
                let size = usize::try_from(bytes::u32(body, 16)?).ok()?;
                Self::Sample {
                    pid: bytes::u32(body, 0)?,
                    time: bytes::u64(body, 8)?,
                    raw: body.get(20..)?.get(..size)?,
                }
            }
            LOST => Self::Lost {
                count: bytes::u64(body, 8)?,
                time: bytes::u64(body, body.len().checked_sub(8)?)?,
            },
            COMM => Self::Comm {
                pid: bytes::u32(body, 0)?,
                tid: bytes::u32(body, 4)?,
                // The last field of what every record ends with.
                time: bytes::u64(body, body.len().checked_sub(8)?)?,
                comm: Comm::from_bytes(body.get(8..body.len().checked_sub(16)?)?),
            },
            FORK => Self::Fork {
                pid: bytes::u32(body, 0)?,
                parent: bytes::u32(body, 4)?,
                time: bytes::u64(body, 16)?,
            },
            EXIT => Self::Exit {
                pid: bytes::u32(body, 0)?,
                tid: bytes::u32(body, 8)?,
                time: bytes::u64(body, 16)?,
            },
            _ => Self::Other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(kind: u32, body: &[u8]) -> Vec<u8> {
        let size = u16::try_from(HEADER + body.len()).expect("short test body");
        let mut record = kind.to_ne_bytes().to_vec();
        record.extend([0, 0]);
        record.extend(size.to_ne_bytes());
        record.extend(body);
        record
    }

    #[test]
    fn what_was_lost_has_a_number_and_a_time() {
        let mut body = Vec::new();
        for number in [7u64, 42, 812 | 813 << 32, 1_000_000] {
            body.extend(number.to_ne_bytes());
        }
        let lost = Record::Lost {
            count: 42,
            time: 1_000_000,
        };
        assert_eq!(Record::parse(&record(LOST, &body)), Some(lost));
        assert_eq!(Record::parse(&record(LOST, &body[..7])), None);
    }

    #[test]
    fn a_sample_gives_its_raw_part_without_padding() {
        let mut body = Vec::new();
        body.extend(812u32.to_ne_bytes());
        body.extend(813u32.to_ne_bytes());
        body.extend(77u64.to_ne_bytes());
        body.extend(4u32.to_ne_bytes());
        body.extend(*b"abcd\0\0\0\0");
        let record = record(SAMPLE, &body);
        let expected = Record::Sample {
            pid: 812,
            time: 77,
            raw: b"abcd",
        };
        assert_eq!(Record::parse(&record), Some(expected));
    }

    #[test]
    fn a_raw_part_longer_than_its_record_is_refused() {
        let mut body = vec![0; 16];
        body.extend(9u32.to_ne_bytes());
        body.extend([0; 8]);
        assert_eq!(Record::parse(&record(SAMPLE, &body)), None);
    }

    #[test]
    fn a_length_below_the_header_is_refused() {
        assert_eq!(Record::length(&[9, 0, 0, 0, 0, 0, 7, 0]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_end(record in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Record::parse(&record);
        }
    }
}

//! Tells by a program file whether the dynamic loader will load the shim into it.
//!
//! The file is read through a function, so that it works the same before an exec inside a
//! program and in the command line tool.

use crate::flag;

/// What a program file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Dynamically linked for this architecture and C library: the shim loads.
    Covered,
    /// It will not, for the reasons of [`flag`].
    Uncovered(u32),
    /// A script, whose interpreter is at these bytes of the file's first
    /// [`HEAD`]: start and end.
    Script(usize, usize),
    /// Not a program this knows; exec will say what it thinks of it.
    Unknown,
}

/// Bytes read from the start of a file.
pub const HEAD: usize = 256;

const CLASS_64: u8 = 2;
const PT_INTERP: u32 = 3;
const PT_NOTE: u32 = 4;
const PROGRAM_HEADER: usize = 56;
/// No linker writes as many; a bound for files that are not what they say.
const PROGRAM_HEADERS: u16 = 128;

#[cfg(target_arch = "aarch64")]
const MACHINE: u16 = 183;
#[cfg(not(target_arch = "aarch64"))]
const MACHINE: u16 = 62;

/// Inspects a file; `read` fills a buffer from an offset and says how much it got.
pub fn inspect(mut read: impl FnMut(&mut [u8], u64) -> usize) -> Program {
    let mut head = [0; HEAD];
    let got = read(&mut head, 0);
    let head = head.get(..got.min(HEAD)).unwrap_or_default();
    if let Some(line) = head.strip_prefix(b"#!") {
        return script(line);
    }
    let Some((&[0x7f, b'E', b'L', b'F', class, ..], _)) = head.split_first_chunk::<16>() else {
        return Program::Unknown;
    };
    let (Some(machine), Some(table), Some(size), Some(count)) = (
        half(head, 18),
        long(head, 32),
        half(head, 54),
        half(head, 56),
    ) else {
        return Program::Unknown;
    };
    if class != CLASS_64 || machine != MACHINE {
        return Program::Uncovered(flag::FOREIGN);
    }
    let mut found = Program::Uncovered(flag::STATIC);
    for index in 0..count.min(PROGRAM_HEADERS) {
        let mut header = [0; PROGRAM_HEADER];
        let at = table.saturating_add(u64::from(size) * u64::from(index));
        if read(&mut header, at) < PROGRAM_HEADER {
            return Program::Unknown;
        }
        let kind = word(&header, 0);
        if !matches!(kind, Some(PT_INTERP | PT_NOTE)) {
            continue;
        }
        let (Some(offset), Some(length)) = (long(&header, 8), long(&header, 32)) else {
            return Program::Unknown;
        };
        let mut content = [0; 128];
        let got = read(&mut content, offset).min(usize::try_from(length).unwrap_or(usize::MAX));
        let content = content.get(..got).unwrap_or_default();
        if kind == Some(PT_NOTE) {
            // Elf64_Nhdr, then the owner's name.
            if content.get(12..16) == Some(b"Go\0\0") {
                return Program::Uncovered(flag::GO);
            }
        } else if content.windows(7).any(|part| part == b"ld-musl") {
            found = Program::Uncovered(flag::MUSL);
        } else {
            found = Program::Covered;
        }
    }
    found
}

fn script(line: &[u8]) -> Program {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let Some(start) = line.iter().position(|byte| !is_blank(byte)) else {
        return Program::Unknown;
    };
    let rest = line.get(start..).unwrap_or_default();
    match rest
        .iter()
        .position(|byte| is_blank(byte) || matches!(byte, b'\n' | 0))
    {
        Some(length) if length > 0 => Program::Script(2 + start, 2 + start + length),
        _ => Program::Unknown,
    }
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn inspect_bytes(bytes: &[u8]) -> Program {
        inspect(|buffer, offset| {
            let rest = usize::try_from(offset)
                .ok()
                .and_then(|at| bytes.get(at..))
                .unwrap_or_default();
            let length = rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&rest[..length]);
            length
        })
    }

    fn elf(interpreter: Option<&[u8]>) -> Vec<u8> {
        let mut file = std::vec![0; 64];
        file[..5].copy_from_slice(b"\x7fELF\x02");
        file[18..20].copy_from_slice(&MACHINE.to_ne_bytes());
        file[32..40].copy_from_slice(&64_u64.to_ne_bytes());
        file[54..56].copy_from_slice(&(PROGRAM_HEADER as u16).to_ne_bytes());
        file[56..58].copy_from_slice(&2_u16.to_ne_bytes());
        let mut headers = [0; 2 * PROGRAM_HEADER];
        headers[0..4].copy_from_slice(&1_u32.to_ne_bytes());
        if let Some(path) = interpreter {
            let second = &mut headers[PROGRAM_HEADER..];
            second[0..4].copy_from_slice(&PT_INTERP.to_ne_bytes());
            second[8..16].copy_from_slice(&(64 + 2 * PROGRAM_HEADER as u64).to_ne_bytes());
            second[32..40].copy_from_slice(&(path.len() as u64).to_ne_bytes());
        }
        file.extend(headers);
        file.extend(interpreter.unwrap_or_default());
        file
    }

    #[test]
    fn the_loader_decides() {
        assert_eq!(
            inspect_bytes(&elf(Some(b"/lib64/ld-linux-x86-64.so.2\0"))),
            Program::Covered
        );
        assert_eq!(
            inspect_bytes(&elf(Some(b"/lib/ld-musl-x86_64.so.1\0"))),
            Program::Uncovered(flag::MUSL)
        );
        assert_eq!(inspect_bytes(&elf(None)), Program::Uncovered(flag::STATIC));
    }

    #[test]
    fn a_go_program_calls_the_kernel_itself() {
        let mut file = elf(Some(b"/lib64/ld-linux-x86-64.so.2\0"));
        let note = file.len() as u64;
        file.extend(b"\x04\0\0\0\x04\0\0\0\x04\0\0\0Go\0\0abcd");
        let first = &mut file[64..64 + PROGRAM_HEADER];
        first[0..4].copy_from_slice(&PT_NOTE.to_ne_bytes());
        first[8..16].copy_from_slice(&note.to_ne_bytes());
        first[32..40].copy_from_slice(&20_u64.to_ne_bytes());
        assert_eq!(inspect_bytes(&file), Program::Uncovered(flag::GO));
    }

    #[test]
    fn another_architecture_is_foreign() {
        let mut file = elf(None);
        file[18] ^= 0x40;
        assert_eq!(inspect_bytes(&file), Program::Uncovered(flag::FOREIGN));
    }

    #[test]
    fn a_script_names_its_interpreter() {
        assert_eq!(inspect_bytes(b"#! /bin/sh -e\n"), Program::Script(3, 10));
        assert_eq!(inspect_bytes(b"#!/bin/sh\n"), Program::Script(2, 9));
        assert_eq!(inspect_bytes(b"#!\n"), Program::Unknown);
        assert_eq!(inspect_bytes(b"#!   "), Program::Unknown);
        assert_eq!(inspect_bytes(b"plain text"), Program::Unknown);
        assert_eq!(inspect_bytes(b""), Program::Unknown);
    }

    proptest! {
        #[test]
        fn any_file_is_something(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            inspect_bytes(&bytes);
        }

        #[test]
        fn a_damaged_program_is_something(at in 0..200_usize, value: u8, cut in 0..300_usize) {
            let mut file = elf(Some(b"/lib64/ld-linux-x86-64.so.2\0"));
            if let Some(byte) = file.get_mut(at) {
                *byte = value;
            }
            file.truncate(cut);
            inspect_bytes(&file);
        }
    }
}

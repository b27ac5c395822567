//! Lines on standard input and output, without a buffer that an exit could lose.

/// Prints a line in one piece.
pub fn say(line: &str) {
    let line = format!("{line}\n");
    // SAFETY: reads `line.len()` bytes of `line`. A stage that hears nothing any more
    // is no concern of the program.
    let _ = unsafe { libc::write(1, line.as_ptr().cast(), line.len()) };
}

/// The next line; `None` at the end.
#[must_use]
pub fn hear() -> Option<String> {
    let mut line = Vec::new();
    loop {
        let mut byte = 0u8;
        // SAFETY: writes at most one byte into `byte`.
        match unsafe { libc::read(0, (&raw mut byte).cast(), 1) } {
            1 if byte == b'\n' => return String::from_utf8(line).ok(),
            1 => line.push(byte),
            -1 if errno() == libc::EINTR => {}
            _ => return None,
        }
    }
}

/// Now, in nanoseconds of CLOCK_REALTIME, as packets are stamped.
#[must_use]
pub fn stamp() -> u128 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default().as_nanos()
}

/// The errno of the last call.
pub(crate) fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// The result of a call that fails with −1.
pub(crate) fn check(result: libc::c_int, what: &str) -> Result<libc::c_int, String> {
    if result < 0 {
        return Err(format!("{what}: {}", std::io::Error::last_os_error()));
    }
    Ok(result)
}

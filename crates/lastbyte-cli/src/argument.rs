//! Values that several subcommands take.

use std::time::Duration;

use lastbyte::Linger;

/// Parses a time, such as `30s`, `500ms` or `1m 30s`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    parse(text, "not")
}

fn parse(text: &str, not: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{not} a time such as 30s or 500ms: {error}"))
}

/// Parses how a close lingers: `off`, `abort`, or a time to wait.
pub(crate) fn linger(text: &str) -> Result<Linger, String> {
    match text {
        "off" => Ok(Linger::Off),
        "abort" => Ok(Linger::Abort),
        _ => match parse(text, "neither off, nor abort, nor")? {
            Duration::ZERO => {
                Err("a wait of no time would be an abort; say abort if that is meant".into())
            }
            wait => Ok(Linger::Wait(wait)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linger_is_off_abort_or_a_time() {
        assert_eq!(linger("off"), Ok(Linger::Off));
        assert_eq!(linger("abort"), Ok(Linger::Abort));
        assert_eq!(
            linger("500ms"),
            Ok(Linger::Wait(Duration::from_millis(500)))
        );
        assert_eq!(linger("1m 30s"), Ok(Linger::Wait(Duration::from_secs(90))));
        for (text, why) in [("0s", "abort"), ("30", "30s or 500ms"), ("soon", "30s")] {
            let error = linger(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}

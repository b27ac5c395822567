//! What a word of the kernel means for a connection's end, and what to do.

mod counters;
mod errnos;
mod fates;
mod reasons;
mod states;

/// One word explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The word, as the kernel or a manual spells it.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it means for a connection's end.
    pub meaning: &'static str,
    /// What to do about it.
    pub todo: &'static str,
}

/// What a word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An errno of close, send, recv or connect.
    Errno,
    /// A TCP state.
    State,
    /// A counter of `/proc/net/netstat` or `/proc/net/snmp`.
    Counter,
    /// Why the kernel sent an RST.
    Reason,
    /// A verdict of lastbyte.
    Fate,
    /// A sysctl or option.
    Setting,
}

impl Kind {
    /// In a few words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Errno => "error of a system call",
            Self::State => "TCP state",
            Self::Counter => "kernel counter",
            Self::Reason => "reason of an RST",
            Self::Fate => "fate of a connection",
            Self::Setting => "setting",
        }
    }
}

/// Every word that can be explained.
pub fn all() -> impl Iterator<Item = &'static Entry> {
    [
        errnos::ENTRIES,
        states::ENTRIES,
        counters::ENTRIES,
        reasons::ENTRIES,
        fates::ENTRIES,
    ]
    .into_iter()
    .flatten()
}

/// What a word means: one entry, or several where it is of several kinds. Case,
/// `-` for `_`, and prefixes (`TcpExt.`, `TCP_`, `SK_RST_REASON_`) do not matter;
/// a number is an errno.
#[must_use]
pub fn find(word: &str) -> Vec<&'static Entry> {
    let by_number = word
        .parse::<i32>()
        .ok()
        .and_then(|number| lastbyte::Errno::from_raw(number).name());
    let wanted = plain(by_number.unwrap_or(word));
    all().filter(|entry| plain(entry.name) == wanted).collect()
}

/// Words like this one, for who mistyped: at most five.
#[must_use]
pub fn like(word: &str) -> Vec<&'static str> {
    let wanted = plain(word);
    let mut near: Vec<_> = all()
        .map(|entry| (distance(&wanted, &plain(entry.name)), entry.name))
        .filter(|(distance, name)| {
            *distance <= 3.min(wanted.len() / 2) || plain(name).contains(&wanted)
        })
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().map(|(_, name)| name).take(5).collect()
}

fn plain(word: &str) -> String {
    let word = word.rsplit('.').next().unwrap_or(word).to_ascii_uppercase();
    let word = word.replace('-', "_");
    let word = word.strip_prefix("SK_RST_REASON_").unwrap_or(&word);
    word.strip_prefix("TCP_").unwrap_or(word).replace('_', "")
}

/// Levenshtein's distance, of words no longer than a screen is wide.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate().take(80) {
        let mut corner = i;
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = change.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_however_they_are_spelled() {
        for word in ["ECONNRESET", "econnreset", "104"] {
            assert_eq!(find(word)[0].name, "ECONNRESET", "{word}");
        }
        for word in ["CLOSE_WAIT", "close-wait", "CloseWait", "TCP_CLOSE_WAIT"] {
            assert_eq!(find(word)[0].name, "CLOSE_WAIT", "{word}");
        }
        assert_eq!(find("TcpExt.TCPAbortOnData")[0].kind, Kind::Counter);
        assert_eq!(find("nothing"), Vec::<&Entry>::new());
    }

    #[test]
    fn every_reason_of_the_kernel_state_and_fate_is_explained() {
        for (name, _) in crate::reason::WORDS {
            assert!(find(name).iter().any(|e| e.kind == Kind::Reason), "{name}");
        }
        for state in crate::tuple::State::ALL {
            assert!(
                find(state.as_str()).iter().any(|e| e.kind == Kind::State),
                "{state}"
            );
        }
        for fate in lastbyte::Fate::ALL {
            assert!(
                find(fate.as_str()).iter().any(|e| e.kind == Kind::Fate),
                "{fate}"
            );
        }
    }

    #[test]
    fn a_mistyped_word_has_neighbours() {
        assert!(like("ECONRESET").contains(&"ECONNRESET"));
        assert_eq!(like("xyzzy"), Vec::<&str>::new());
    }
}

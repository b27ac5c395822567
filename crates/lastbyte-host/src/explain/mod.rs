//! What a word of the kernel means for a connection's end, and what to do.

mod counters;
mod errnos;
mod fates;
mod phrases;
mod reasons;
mod settings;
mod states;
mod words;

use strsim::levenshtein;

/// What one word means.
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
    /// A sysctl, an option or a call.
    Setting,
    /// A finding of `lastbyte doctor`.
    Finding,
    /// Another word that lastbyte prints: a key, a label, a value.
    Word,
    /// What programs print.
    Phrase,
}

impl Kind {
    /// Returns what kind of word it is, in a few words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Errno => "error of a system call",
            Self::State => "TCP state",
            Self::Counter => "kernel counter",
            Self::Reason => "reason of an RST",
            Self::Fate => "fate of a connection",
            Self::Setting => "setting",
            Self::Finding => "finding of lastbyte doctor",
            Self::Word => "word of lastbyte",
            Self::Phrase => "message of programs",
        }
    }
}

const fn entry(name: &'static str, kind: Kind, meaning: &'static str, todo: &'static str) -> Entry {
    Entry {
        name,
        kind,
        meaning,
        todo,
    }
}

/// Iterates over every word that can be explained.
pub fn all() -> impl Iterator<Item = &'static Entry> {
    [
        errnos::ENTRIES,
        states::ENTRIES,
        counters::ENTRIES,
        reasons::ENTRIES,
        fates::ENTRIES,
        settings::ENTRIES,
        words::ENTRIES,
    ]
    .into_iter()
    .flatten()
    .chain(phrases::PHRASES.iter().map(|phrase| &phrase.entry))
}

/// Finds what a word means: one entry, or several where it is of several kinds. Case,
/// `-` for `_`, prefixes (`TcpExt.`, `TcpExt`, `Tcp`, `TCP_`, `SK_RST_REASON_`,
/// `net.ipv4.`) and a setting's value (`=1`) do not matter; a number is an errno. Of a
/// sentence, such as a line of a log, the messages that are in it are explained, and else
/// the words.
#[must_use]
pub fn find(text: &str) -> Vec<&'static Entry> {
    let exact = word(text);
    if !exact.is_empty() {
        return exact;
    }
    let said = messages(text);
    if !said.is_empty() {
        return said;
    }
    let separators = |c: char| c.is_whitespace() || ",;()[]{}\"'`".contains(c);
    let words = text
        .split(separators)
        .map(|word| word.trim_end_matches([':', '.']));
    // What is an everyday word as well means nothing in a sentence.
    let telling = |entry: &&Entry| !matches!(entry.kind, Kind::Word | Kind::Fate);
    let mut found: Vec<&'static Entry> = Vec::new();
    for entry in words
        .filter(|word| is_term(word))
        .flat_map(word)
        .filter(telling)
    {
        if !found.contains(&entry) {
            found.push(entry);
        }
    }
    found
}

fn is_term(word: &str) -> bool {
    let letters = word.chars().filter(char::is_ascii_alphabetic).count();
    let upper = word.chars().filter(char::is_ascii_uppercase).count();
    letters >= 2 && (upper >= 2 || word.contains(['_', '-']))
}

fn word(word: &str) -> Vec<&'static Entry> {
    let by_number = word
        .parse::<i32>()
        .ok()
        .and_then(|number| lastbyte::Errno::from_raw(number).name());
    let wanted = plain(by_number.unwrap_or(word));
    let same = |wanted: &str| -> Vec<_> {
        all()
            .filter(|entry| !wanted.is_empty() && plain(entry.name) == wanted)
            .collect()
    };
    // nstat puts the group before the name: TcpExtTW, TcpOutRsts.
    let mut found = same(&wanted);
    for group in ["TCPEXT", "TCP"] {
        if found.is_empty()
            && let Some(name) = wanted.strip_prefix(group)
        {
            found = same(name);
        }
    }
    found
}

/// The messages of programs that a text has in it.
fn messages(text: &str) -> Vec<&'static Entry> {
    let text = text.to_lowercase();
    phrases::PHRASES
        .iter()
        .filter(|phrase| {
            phrase
                .spellings
                .iter()
                .any(|spelling| text.contains(spelling))
        })
        .map(|phrase| &phrase.entry)
        .collect()
}

/// Finds words that are spelled like this one: at most five, the nearest first.
#[must_use]
pub fn like(word: &str) -> Vec<&'static str> {
    // No word is longer than a screen is wide.
    let wanted: String = plain(word).chars().take(80).collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let most = (wanted.len() / 2).min(3.max(wanted.len() / 5));
    let mut near: Vec<_> = all()
        .map(|entry| (plain(entry.name), entry.name))
        .map(|(name, shown)| {
            let far = levenshtein(&wanted, &name);
            let bare = wanted
                .strip_prefix("TCPEXT")
                .map(|bare| levenshtein(bare, &name));
            let part = wanted.len() >= 3 && name.contains(&wanted);
            (bare.map_or(far, |bare| bare.min(far)), part, shown)
        })
        .filter(|(far, part, _)| *far <= most || *part)
        .map(|(far, _, shown)| (far, shown))
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().map(|(_, name)| name).take(5).collect()
}

fn plain(word: &str) -> String {
    let word = word.trim();
    let word = word.split_once('=').map_or(word, |(name, _)| name);
    // A setting or a counter with its path; not a sentence that ends in a full stop.
    let word = match word.contains(' ') {
        true => word,
        false => word
            .trim_end_matches('.')
            .rsplit('.')
            .next()
            .unwrap_or(word),
    };
    let word = word.to_ascii_uppercase().replace(['-', ' '], "_");
    let word = word.strip_prefix("SK_RST_REASON_").unwrap_or(&word);
    word.strip_prefix("TCP_").unwrap_or(word).replace('_', "")
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
        for &fate in lastbyte::Fate::ALL {
            assert!(
                find(fate.as_str()).iter().any(|e| e.kind == Kind::Fate),
                "{fate}"
            );
        }
    }

    #[test]
    fn a_mistyped_word_has_neighbours() {
        assert!(like("ECONRESET").contains(&"ECONNRESET"));
        assert!(like("TcpExtTCPAbortOnDatta").contains(&"TCPAbortOnData"));
        assert!(like("conection reset by pear").contains(&"Connection reset by peer"));
        for nothing in ["xyzzy", "", "  ", "_", "=", "."] {
            assert_eq!(like(nothing), Vec::<&str>::new(), "{nothing:?}");
            assert_eq!(find(nothing), Vec::<&Entry>::new(), "{nothing:?}");
        }
    }

    #[test]
    fn names_are_found_as_nstat_and_sysctl_print_them() {
        for (word, name) in [
            ("TcpExtTCPAbortOnClose", "TCPAbortOnClose"),
            ("TcpExtTW", "TW"),
            ("TcpEstabResets", "EstabResets"),
            ("TcpOutRsts", "OutRsts"),
            ("TcpExtListenOverflows", "ListenOverflows"),
            ("net.ipv4.tcp_tw_reuse=1", "tcp_tw_reuse"),
            (
                "net.netfilter.nf_conntrack_tcp_be_liberal",
                "nf_conntrack_tcp_be_liberal",
            ),
        ] {
            assert_eq!(
                find(word).first().map(|entry| entry.name),
                Some(name),
                "{word}"
            );
        }
    }

    #[test]
    fn what_people_paste_is_found() {
        for (text, name) in [
            ("connection reset by peer", "Connection reset by peer"),
            ("Connection reset by peer", "Connection reset by peer"),
            (
                "java.net.SocketException: Connection reset",
                "Connection reset by peer",
            ),
            (
                "read tcp 10.0.0.1:4->10.0.0.2:80: read: connection reset by peer",
                "Connection reset by peer",
            ),
            (
                "ConnectionResetError: [Errno 104] Connection reset by peer",
                "Connection reset by peer",
            ),
            ("Error: read ECONNRESET", "Connection reset by peer"),
            ("write EPIPE", "Broken pipe"),
            ("java.io.IOException: Broken pipe", "Broken pipe"),
            (
                "curl: (52) Empty reply from server",
                "Empty reply from server",
            ),
            ("(52)", "Empty reply from server"),
            ("(56)", "Recv failure: Connection reset by peer"),
            (
                "upstream prematurely closed connection while reading response header",
                "upstream prematurely closed connection",
            ),
            (
                "recv() failed (104: Connection reset by peer) while reading",
                "recv() failed (104: Connection reset by peer)",
            ),
            ("Error: socket hang up", "socket hang up"),
            (
                "http.client.RemoteDisconnected: Remote end closed connection without response",
                "Remote end closed connection without response",
            ),
            (
                "An existing connection was forcibly closed by the remote host",
                "Connection reset by peer",
            ),
            (
                "Os { code: 32, kind: BrokenPipe, message: \"Broken pipe\" }",
                "Broken pipe",
            ),
        ] {
            assert_eq!(
                find(text).first().map(|entry| entry.name),
                Some(name),
                "{text}"
            );
        }
    }

    #[test]
    fn of_a_line_of_a_log_the_terms_are_explained_and_no_everyday_words() {
        let names = |text| -> Vec<_> { find(text).iter().map(|entry| entry.name).collect() };
        assert_eq!(
            names("kernel: TIME_WAIT and TCPAbortOnData, why"),
            ["TIME_WAIT", "TCPAbortOnData"]
        );
        assert_eq!(
            names("the server lost what the client sent"),
            Vec::<&str>::new()
        );
    }

    #[test]
    fn no_entry_is_empty_and_no_spelling_has_capitals() {
        for entry in all() {
            assert!(
                !entry.meaning.is_empty() && !entry.todo.is_empty(),
                "{}",
                entry.name
            );
            assert!(find(entry.name).contains(&entry), "{}", entry.name);
        }
        for spelling in phrases::PHRASES.iter().flat_map(|phrase| phrase.spellings) {
            assert_eq!(*spelling, spelling.to_lowercase());
        }
    }
}

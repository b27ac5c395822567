//! What the user wants to see of the endings: `port:80 comm:nginx fate:reset`.

use std::fmt;

use crate::ending::Ending;
use crate::process::Process;

/// Conditions that an ending must all meet to be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    port: Option<u16>,
    pid: Option<u32>,
    comm: Option<String>,
    fate: Option<String>,
}

impl Filter {
    /// Reads `port:80`, `pid:812`, `comm:nginx`, `fate:reset`; a bare number is a
    /// port, a bare fate a fate, another bare word a process's name.
    ///
    /// # Errors
    ///
    /// What cannot be read, and what could.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut filter = Self::default();
        for word in text.split_whitespace() {
            let (key, value) = word.split_once(':').unwrap_or(match word {
                _ if word.parse::<u16>().is_ok() => ("port", word),
                _ if is_fate(word) => ("fate", word),
                _ => ("comm", word),
            });
            let wrong = || format!("{word:?}: give port:80, pid:812, comm:name or fate:reset");
            match key {
                "port" => filter.port = Some(value.parse().map_err(|_| wrong())?),
                "pid" => filter.pid = Some(value.parse().map_err(|_| wrong())?),
                "comm" => filter.comm = Some(value.to_owned()),
                "fate" if is_fate(value) => filter.fate = Some(value.to_owned()),
                _ => return Err(wrong()),
            }
        }
        Ok(filter)
    }

    /// Whether it admits everything.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a pile of sockets with these ports is to be shown, whoever's they are.
    pub(super) fn admits_port(&self, ports: &[u16]) -> bool {
        self.port.is_none_or(|port| ports.contains(&port))
    }

    /// Whether a socket that lives, or a pile of them, is to be shown: it has no fate yet.
    pub(super) fn admits_socket(&self, ports: &[u16], process: Option<Process>) -> bool {
        let known = |wanted: &dyn Fn(Process) -> bool| process.is_some_and(wanted);
        self.port.is_none_or(|port| ports.contains(&port))
            && self.pid.is_none_or(|pid| known(&|p| p.pid == pid))
            && self
                .comm
                .as_ref()
                .is_none_or(|comm| known(&|p| p.comm.to_string().contains(comm)))
    }

    /// Whether an ending is to be shown.
    #[must_use]
    pub(crate) fn admits(&self, ending: &Ending) -> bool {
        let ends = [ending.tuple.local.port, ending.tuple.remote.port];
        let processes = || [ending.owner, ending.closer].into_iter().flatten();
        self.port.is_none_or(|port| ends.contains(&port))
            && self.pid.is_none_or(|pid| processes().any(|p| p.pid == pid))
            && self
                .comm
                .as_ref()
                .is_none_or(|comm| processes().any(|p| p.comm.to_string().contains(comm)))
            && self
                .fate
                .as_ref()
                .is_none_or(|fate| ending.fate.map_or("unknown", |f| f.as_str()) == fate)
    }
}

impl fmt::Display for Filter {
    /// As it can be typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            self.port.map(|port| format!("port:{port}")),
            self.pid.map(|pid| format!("pid:{pid}")),
            self.comm.as_ref().map(|comm| format!("comm:{comm}")),
            self.fate.as_ref().map(|fate| format!("fate:{fate}")),
        ];
        let words: Vec<_> = words.into_iter().flatten().collect();
        f.write_str(&words.join(" "))
    }
}

fn is_fate(word: &str) -> bool {
    word == "unknown" || lastbyte::Fate::ALL.iter().any(|fate| fate.as_str() == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_words_find_their_keys() {
        let filter = Filter::parse("80 nginx reset").expect("all can be read");
        assert_eq!(
            filter,
            Filter::parse("port:80 comm:nginx fate:reset").expect("as well")
        );
        assert_eq!(Filter::parse(""), Ok(Filter::default()));
        let text = "port:80 comm:nginx fate:reset";
        assert_eq!(filter.to_string(), text);
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for text in ["port:x", "pid:", "fate:fine", "color:red"] {
            assert!(Filter::parse(text).is_err(), "{text}");
        }
    }
}

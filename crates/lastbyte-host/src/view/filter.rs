//! What the user wants to see of the endings: `port:80 comm:nginx fate:reset`.

use crate::event::Ending;

/// Words that must all hold.
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
    pub fn parse(text: &str) -> Result<Self, String> {
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

    /// Whether an ending is to be shown.
    #[must_use]
    pub fn admits(&self, ending: &Ending) -> bool {
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
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for text in ["port:x", "pid:", "fate:fine", "color:red"] {
            assert!(Filter::parse(text).is_err(), "{text}");
        }
    }
}

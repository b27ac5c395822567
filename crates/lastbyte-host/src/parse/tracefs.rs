//! An event's `format` file: where each field sits and what its numbers are
//! called. Layouts and enums differ by kernel, so both are read at run time.

use std::collections::HashMap;

/// One event of the kernel, as its `format` file describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Format {
    /// The event's number, for `perf_event_open`.
    pub id: u64,
    /// The fields by name.
    pub fields: HashMap<String, Field>,
    /// For each field printed with `__print_symbolic`, the names of its numbers.
    pub symbols: HashMap<String, HashMap<u64, String>>,
}

/// Where a field sits in the raw record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    /// Bytes from the record's start.
    pub offset: usize,
    /// Its length in bytes.
    pub size: usize,
}

impl Format {
    /// Reads the file's text. `None` when it has no event number.
    #[must_use]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut format = Self::default();
        let mut id = None;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("ID:") {
                id = rest.trim().parse().ok();
            } else if let Some(rest) = line.trim_start().strip_prefix("field:") {
                if let Some((name, field)) = field(rest) {
                    format.fields.insert(name, field);
                }
            } else if let Some(rest) = line.strip_prefix("print fmt:") {
                format.symbols = symbols(rest);
            }
        }
        format.id = id?;
        Some(format)
    }

    /// The name that the kernel prints for a field's number.
    #[cfg(test)]
    pub(crate) fn symbol(&self, field: &str, value: u64) -> Option<&str> {
        self.symbols.get(field)?.get(&value).map(String::as_str)
    }
}

/// `const void * skaddr; offset:8; size:8; signed:0;`, parted by tabs.
fn field(text: &str) -> Option<(String, Field)> {
    let mut parts = text.split(';').map(str::trim);
    let declaration = parts.next()?;
    let declaration = declaration.split('[').next()?.trim_end();
    let name = declaration.rsplit([' ', '*']).next()?;
    let (mut offset, mut size) = (None, None);
    for part in parts {
        if let Some(value) = part.strip_prefix("offset:") {
            offset = value.trim().parse().ok();
        } else if let Some(value) = part.strip_prefix("size:") {
            size = value.trim().parse().ok();
        }
    }
    let field = Field {
        offset: offset?,
        size: size?,
    };
    (!name.is_empty()).then(|| (name.to_owned(), field))
}

/// Every `__print_symbolic(REC->field, { 1, "NAME" }, …)` of a print format.
fn symbols(text: &str) -> HashMap<String, HashMap<u64, String>> {
    const CALL: &str = "__print_symbolic(REC->";
    let mut found = HashMap::new();
    let mut rest = text;
    while let Some(at) = rest.find(CALL) {
        rest = &rest[at + CALL.len()..];
        let Some(comma) = rest.find(',') else { break };
        let name = rest[..comma].trim().to_owned();
        let mut names = HashMap::new();
        rest = &rest[comma + 1..];
        while let Some(pair) = rest.trim_start().strip_prefix('{') {
            let Some(end) = pair.find('}') else { break };
            if let Some((number, symbol)) = pair[..end].split_once(',')
                && let Some(number) = number_of(number.trim())
            {
                names.insert(number, symbol.trim().trim_matches('"').to_owned());
            }
            rest = &pair[end + 1..];
            rest = rest.trim_start().strip_prefix(',').unwrap_or(rest);
        }
        found.insert(name, names);
    }
    found
}

fn number_of(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SEND_RESET: &str = include_str!("../../fixtures/tcp_send_reset.format");

    #[test]
    fn fields_and_names_of_a_captured_file() {
        let format = Format::parse(SEND_RESET).expect("a whole file");
        assert_eq!(format.id, 2280);
        let field = |name: &str| format.fields[name];
        assert_eq!(
            field("skaddr"),
            Field {
                offset: 16,
                size: 8
            }
        );
        assert_eq!(
            field("saddr"),
            Field {
                offset: 32,
                size: 28
            }
        );
        assert_eq!(field("common_flags"), Field { offset: 2, size: 1 });
        assert_eq!(format.symbol("reason", 11), Some("TCP_ABORT_ON_CLOSE"));
        assert_eq!(format.symbol("state", 4), None, "C names are not numbers");
        assert_eq!(format.symbol("reason", 99), None);
    }

    #[test]
    fn a_file_without_a_number_is_refused() {
        assert_eq!(Format::parse("name: x\nformat:\n"), None);
    }

    proptest! {
        #[test]
        fn any_text_ends(text in "(?s).{0,300}") {
            let _ = Format::parse(&text);
        }

        #[test]
        fn cut_files_end(at in 0..SEND_RESET.len()) {
            if let Some(part) = SEND_RESET.get(..at) {
                let _ = Format::parse(part);
            }
        }
    }
}

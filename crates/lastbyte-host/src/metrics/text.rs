//! The two text formats: OpenMetrics 1.0, and Prometheus' own 0.0.4, which every
//! scraper understands.

/// A format of the text that a scrape gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Text,
}

impl Format {
    /// Returns its content type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Returns the format that a request's `Accept` prefers; the text format where it accepts
    /// both alike, or names neither.
    #[must_use]
    pub fn preferred(accept: &str) -> Self {
        let weight = |wanted: &[&str]| {
            accept
                .split(',')
                .map(media_range)
                .filter(|(range, _)| wanted.iter().any(|w| range.eq_ignore_ascii_case(w)))
                .map(|(_, weight)| weight)
                .fold(0.0, f64::max)
        };
        let open = weight(&["application/openmetrics-text"]);
        match open > weight(&["text/plain"]) {
            true => Self::OpenMetrics,
            false => Self::Text,
        }
    }
}

/// `text/plain;version=0.0.4;q=0.3`: the range and its weight.
fn media_range(text: &str) -> (&str, f64) {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next().unwrap_or_default();
    let weight = parts
        .filter_map(|part| part.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
        .map_or(1.0, |(_, q)| q.trim().parse().unwrap_or(0.0));
    (range, weight)
}

/// OpenMetrics as text of the older format: a family has the name of its samples
/// there, and neither units nor an end are written.
pub(super) fn downgrade(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    let mut help = None;
    for line in open.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(_), Some(words)) => help = Some(words),
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let (suffix, kind) = match kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    "unknown" => ("", "untyped"),
                    kind => ("", kind),
                };
                if let Some(help) = help.take() {
                    text += &format!("# HELP {name}{suffix} {help}\n");
                }
                text += &format!("# TYPE {name}{suffix} {kind}\n");
            }
            (Some("#"), ..) => {}
            _ => {
                text += line;
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_chooses_and_text_is_for_everybody_else() {
        for (accept, format) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/plain", Format::Text),
            ("application/openmetrics-text", Format::OpenMetrics),
            (
                "Application/OpenMetrics-Text ; version=1.0.0",
                Format::OpenMetrics,
            ),
            // Prometheus 2 and 3.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;\
                 version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::OpenMetrics,
            ),
            (
                "application/openmetrics-text;q=0.2, text/plain;q=0.3",
                Format::Text,
            ),
            ("application/openmetrics-text;q=0", Format::Text),
            ("application/openmetrics-text;q=x", Format::Text),
        ] {
            assert_eq!(Format::preferred(accept), format, "{accept}");
        }
    }

    #[test]
    fn families_are_named_as_their_samples() {
        let open = "# HELP a Things.\n# TYPE a counter\n# UNIT a bytes\na_total{x=\"# y\"} 1\n\
                    # HELP b What.\n# TYPE b info\nb_info{v=\"1\"} 1\n# TYPE c gauge\nc 2\n# EOF\n";
        let text = "# HELP a_total Things.\n# TYPE a_total counter\na_total{x=\"# y\"} 1\n\
                    # HELP b_info What.\n# TYPE b_info gauge\nb_info{v=\"1\"} 1\n# TYPE c gauge\nc 2\n";
        assert_eq!(downgrade(open), text);
    }
}

//! The documents' Markdown as the source of a man page.

use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// Sections about the repository, which whoever reads a man page need not have.
const NOT_IN_A_PAGE: &[&str] = &["Evidence"];

/// Returns what stands before the first section, and the sections.
pub(super) fn to_roff(text: &str) -> (Roff, Roff) {
    let mut page = Page::default();
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        page.event(event);
    }
    page.end_paragraph("PP");
    (page.introduction, page.sections)
}

#[derive(Default)]
struct Page {
    introduction: Roff,
    sections: Roff,
    /// Whether the first section has begun, and whether this one is left out.
    is_in_section: bool,
    is_left_out: bool,
    /// The paragraph, heading or table cell that is being read.
    line: Vec<Inline>,
    is_strong: bool,
    is_emphasized: bool,
    is_code_block: bool,
    is_item: bool,
    /// Cells of the row so far, and whether it is the table's head.
    cells: Vec<Vec<Inline>>,
    is_head: bool,
}

impl Page {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(&tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.is_code_block => self.code_block(&text),
            Event::Text(text) => self.text(&text),
            Event::Code(text) => self.line.push(bold(text.into_string())),
            Event::SoftBreak | Event::HardBreak => self.line.push(roman(" ")),
            _ => {}
        }
    }

    fn start(&mut self, tag: &Tag<'_>) {
        match tag {
            Tag::Strong => self.is_strong = true,
            Tag::Emphasis => self.is_emphasized = true,
            Tag::CodeBlock(_) => self.is_code_block = true,
            Tag::Item => self.is_item = true,
            Tag::TableHead => self.is_head = true,
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Strong => self.is_strong = false,
            TagEnd::Emphasis => self.is_emphasized = false,
            TagEnd::CodeBlock => self.is_code_block = false,
            TagEnd::Paragraph if !self.is_item => self.end_paragraph("PP"),
            TagEnd::Item => {
                self.is_item = false;
                self.end_item();
            }
            TagEnd::Heading(level) => self.end_heading(level),
            TagEnd::TableCell => self.cells.push(std::mem::take(&mut self.line)),
            TagEnd::TableHead | TagEnd::TableRow => self.end_row(),
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        self.line.push(match (self.is_strong, self.is_emphasized) {
            (true, _) => bold(text),
            (_, true) => italic(text),
            _ => roman(text),
        });
    }

    /// Returns where what was read belongs; `None` in a section that is left out.
    fn out(&mut self) -> Option<&mut Roff> {
        match (self.is_left_out, self.is_in_section) {
            (true, _) => None,
            (_, true) => Some(&mut self.sections),
            (_, false) => Some(&mut self.introduction),
        }
    }

    fn end_paragraph(&mut self, control: &str) {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return;
        }
        if let Some(out) = self.out() {
            out.control(control, []);
            out.text(line);
        }
    }

    fn end_item(&mut self) {
        let line = std::mem::take(&mut self.line);
        if let Some(out) = self.out() {
            out.control("IP", ["\\(bu", "2"]);
            out.text(line);
        }
    }

    fn end_heading(&mut self, level: HeadingLevel) {
        let line = std::mem::take(&mut self.line);
        // The page has its own title.
        if level == HeadingLevel::H1 {
            return;
        }
        let title = plain(&line);
        if level == HeadingLevel::H2 {
            self.is_in_section = true;
            self.is_left_out = NOT_IN_A_PAGE.contains(&title.as_str());
        }
        if let Some(out) = self.out() {
            match level {
                HeadingLevel::H2 => out.control("SH", [title.to_uppercase().as_str()]),
                _ => out.control("SS", [title.as_str()]),
            };
        }
    }

    fn code_block(&mut self, text: &str) {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if let Some(out) = self.out() {
            out.control("PP", []).control("RS", ["4"]).control("nf", []);
            for line in lines {
                out.text([roman(line)]);
            }
            out.control("fi", []).control("RE", []);
        }
    }

    /// A row is a term and what it means; the head only names the columns.
    fn end_row(&mut self) {
        let cells = std::mem::take(&mut self.cells);
        if std::mem::take(&mut self.is_head) {
            return;
        }
        let mut cells = cells.into_iter();
        let Some(term) = cells.next() else {
            return;
        };
        let mut meaning = Vec::new();
        for cell in cells.filter(|cell| !cell.is_empty()) {
            if !meaning.is_empty() {
                meaning.push(roman("; "));
            }
            meaning.extend(cell);
        }
        if let Some(out) = self.out() {
            out.control("TP", []);
            out.text(term);
            out.text(meaning);
        }
    }
}

/// The text of a heading, which has no fonts.
fn plain(line: &[Inline]) -> String {
    line.iter()
        .map(|part| match part {
            Inline::Roman(text) | Inline::Italic(text) | Inline::Bold(text) => text.as_str(),
            Inline::LineBreak => " ",
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::to_roff;

    #[test]
    fn a_document_becomes_sections_terms_and_paragraphs() {
        let (introduction, sections) = to_roff(
            "# Title\n\nSaid *first*, `code`.\n\n## The keys\n\n| key | meaning |\n|---|---|\n\
             | `a` | one |\n| `b`, `c` | two | \n\n### Below\n\n- item\n\n```\n.dot\n```\n\n\
             ## Evidence\n\nnot here\n\n## After\n\nhere\n",
        );
        assert_eq!(
            introduction.to_roff(),
            ".PP\nSaid \\fIfirst\\fR, \\fBcode\\fR.\n"
        );
        assert_eq!(
            sections.to_roff(),
            ".SH \"THE KEYS\"\n.TP\n\\fBa\\fR\none\n.TP\n\\fBb\\fR, \\fBc\\fR\ntwo\n\
             .SS Below\n.IP \\(bu 2\nitem\n.PP\n.RS 4\n.nf\n\\&.dot\n.fi\n.RE\n\
             .SH AFTER\n.PP\nhere\n"
        );
    }
}

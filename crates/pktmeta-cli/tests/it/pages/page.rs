//! A page of the documents: what it tells its readers to run, and what it shows of the output.
//!
//! Every block of `sh`, `bash` or `console` is run, in the order of the page, in one shell. A block
//! of `text` shows all that the commands before it print. What only the runner
//! has to know stands in comments of Markdown, which readers do not see:
//!
//! | comment | before a block it says |
//! |---|---|
//! | `<!-- file: NAME -->` | the reader has the block in this file, from the beginning of the page |
//! | `<!-- varies: WORDS -->` | these words of the output differ from run to run |
//! | `<!-- interrupted: WORD -->` | each command is interrupted at this word, or after so many seconds |
//! | `<!-- not run: REASON -->` | the block is not run |
//! | `<!-- network: COMMANDS -->` | anywhere: these commands make the network that the reader's host is in |
//!
//! The commands of `network` are not the reader's: they run before the page, with the tools of the
//! host that tests it. What they install or write, the page does not have.
//!
//! In output, `...` stands for anything: alone in a line for any lines, in a line for any text.

use super::shown::Shown;

/// What a page says, in its order.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Names and contents.
    pub(super) files: Vec<(String, String)>,
    pub(super) steps: Vec<Step>,
    /// Commands that make the network of the reader's host.
    pub(super) network: String,
    /// The lines of blocks that are not run, and why.
    pub(super) not_run: Vec<(usize, String)>,
}

/// Commands that are run together.
#[derive(Debug)]
pub(super) struct Step {
    /// The line of the page at which they begin.
    pub(super) line: usize,
    pub(super) commands: String,
    /// The word with which each command is interrupted, or after how many seconds.
    pub(super) interrupted: Option<String>,
    /// What they print, if the page shows it.
    pub(super) shows: Option<Shown>,
}

impl Page {
    /// Panics with the line of what is not understood: a block must not be left out silently.
    pub(super) fn parse(text: &str) -> Self {
        let mut page = Self::default();
        let mut marks = Marks::default();
        let mut lines = (1..).zip(text.lines());
        while let Some((line, first)) = lines.next() {
            if let Some(comment) = first.trim_start().strip_prefix("<!-- ") {
                let mut comment = comment.to_owned();
                while !comment.contains("-->") {
                    let (_, more) = lines.next().expect("a comment ends");
                    comment = comment + "\n" + more;
                }
                let (mark, _) = comment.split_once("-->").unwrap();
                let (name, value) = mark.split_once(':').unwrap_or((mark, ""));
                page.read_mark(&mut marks, line, name, value.trim());
            } else if let Some(language) = first.trim_start().strip_prefix("```") {
                assert!(!first.starts_with(' '), "line {line}: an indented block");
                let block = lines.by_ref().map(|(_, text)| text);
                let block: Vec<&str> = block.take_while(|text| *text != "```").collect();
                let language = language.split(',').next().unwrap_or_default();
                page.read_block(std::mem::take(&mut marks), line, language, &block);
            } else {
                assert!(
                    marks == Marks::default() || first.is_empty(),
                    "line {line}: a mark is before no block"
                );
            }
        }
        page
    }

    fn read_mark(&mut self, marks: &mut Marks, line: usize, name: &str, value: &str) {
        match name {
            "file" => marks.file = Some(value.into()),
            "varies" => marks.varies = value.split_whitespace().map(str::to_owned).collect(),
            "interrupted" => marks.interrupted = Some(value.into()),
            "not run" => marks.not_run = Some(value.into()),
            "network" => self.network = value.into(),
            _ => panic!("line {line}: what does the comment `{name}` mean?"),
        }
    }

    fn read_block(&mut self, marks: Marks, line: usize, language: &str, block: &[&str]) {
        let text = block.join("\n");
        if let Some(file) = marks.file {
            self.files.push((file, text + "\n"));
            return;
        }
        if let Some(why) = marks.not_run {
            assert!(!why.is_empty(), "line {line}: no reason");
            self.not_run.push((line, why));
            return;
        }
        match language {
            "sh" | "bash" => self.steps.push(Step {
                line,
                commands: text,
                interrupted: marks.interrupted,
                shows: None,
            }),
            "console" => {
                for piece in text.strip_prefix("$ ").unwrap().split("\n$ ") {
                    let (commands, output) = piece.split_once('\n').unwrap_or((piece, ""));
                    self.steps.push(Step {
                        line,
                        commands: commands.into(),
                        interrupted: None,
                        shows: Some(Shown::new(output, &marks.varies)),
                    });
                }
            }
            "text" => match self.steps.last_mut() {
                Some(step) if step.shows.is_none() => {
                    step.shows = Some(Shown::new(&text, &marks.varies));
                }
                _ => panic!("line {line}: of which commands is this the output?"),
            },
            _ => {}
        }
    }
}

/// What comments say of the block after them.
#[derive(Debug, Default, PartialEq)]
struct Marks {
    file: Option<String>,
    varies: Vec<String>,
    interrupted: Option<String>,
    not_run: Option<String>,
}

//! The tests that stand in the sources, by the path that `cargo test` prints, and the cases that they claim.
//!
//! Invariant: sources are formatted by rustfmt, so an inline module ends with `}` under the `m` of its `mod`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[derive(Default)]
pub(super) struct Sources {
    pub(super) tests: Vec<Test>,
    pub(super) claims: Vec<Claim>,
}

#[derive(Clone)]
pub(super) struct Test {
    /// Path of its module and its name: `service::find::rows::every_answer_leaves_its_ledger`.
    pub(super) path: String,
    pub(super) ignored: bool,
}

/// A line `Case: name` in a comment.
pub(super) struct Claim {
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) case: String,
    /// The test that it stands above, if it does.
    pub(super) test: Option<String>,
}

/// A file of Rust: its path for messages, its module path and its text.
type File<'a> = (&'a str, Vec<String>, &'a str);

pub(super) fn read(crates: &[&Path]) -> Sources {
    let mut sources = Sources::default();
    for root in crates {
        let mut files = Vec::new();
        read_folder(root, &[], &mut files);
        let files: Vec<File<'_>> = files
            .iter()
            .map(|(path, module, text)| (path.as_str(), module.clone(), text.as_str()))
            .collect();
        let Sources { tests, claims } = of_files(&files);
        sources.tests.extend(tests);
        sources.claims.extend(claims);
    }
    sources
}

fn read_folder(folder: &Path, module: &[String], files: &mut Vec<(String, Vec<String>, String)>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry of a folder").path();
        let stem = path
            .file_stem()
            .expect("the name of a file")
            .to_string_lossy()
            .into_owned();
        let inner: Vec<String> = match stem.as_str() {
            "mod" | "main" | "lib" => module.to_vec(),
            _ => [module, &[stem]].concat(),
        };
        if path.is_dir() {
            read_folder(&path, &inner, files);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&path).expect("a source can be read");
            files.push((path.display().to_string(), inner, text));
        }
    }
}

/// Tests and claims of the files of one crate. A file that no module declares has none.
pub(super) fn of_files(files: &[File<'_>]) -> Sources {
    let mut declared = BTreeSet::from([String::new()]);
    let mut read = Vec::new();
    for (path, module, text) in files {
        let mut reader = Reader::new(path, module);
        for (line, number) in text.lines().zip(1..) {
            reader.take(line, number);
        }
        declared.extend(reader.declared);
        read.push((module.join("::"), reader.sources));
    }
    let mut sources = Sources::default();
    for (_, Sources { tests, claims }) in read.into_iter().filter(|(module, _)| declared.contains(module)) {
        sources.tests.extend(tests);
        sources.claims.extend(claims);
    }
    sources
}

struct Reader<'a> {
    file: &'a str,
    module: Vec<String>,
    /// Inline modules that are open: the indentation of each.
    inline: Vec<usize>,
    /// What stands above the next item: whether it is a test, is ignored, and the claims.
    is_test: bool,
    ignored: bool,
    above: Vec<(usize, String)>,
    declared: Vec<String>,
    sources: Sources,
}

impl<'a> Reader<'a> {
    fn new(file: &'a str, module: &[String]) -> Self {
        Self {
            file,
            module: module.to_vec(),
            inline: vec![],
            is_test: false,
            ignored: false,
            above: vec![],
            declared: vec![],
            sources: Sources::default(),
        }
    }

    fn take(&mut self, line: &str, number: usize) {
        let code = line.trim_start();
        let indentation = line.len() - code.len();
        if let Some(comment) = code.strip_prefix("//") {
            if let Some(case) = comment
                .trim_start_matches(['/', '!'])
                .trim()
                .strip_prefix("Case:")
            {
                self.above.push((number, case.trim().to_owned()));
                if !code.starts_with("///") {
                    self.end_item(None);
                }
            }
        } else if let Some(attribute) = code.strip_prefix("#[") {
            let name = attribute.trim_start_matches("tokio::");
            self.is_test |= name.starts_with("test]") || name.starts_with("test(");
            self.ignored |= name.starts_with("ignore");
        } else if let Some(name) = name_after(code, "fn ") {
            let path = self.path_of(name);
            let test = self.is_test.then_some(path);
            self.end_item(test);
        } else {
            self.follow_modules(code, indentation);
            self.end_item(None);
        }
    }

    fn follow_modules(&mut self, code: &str, indentation: usize) {
        if let Some(name) = name_after(code, "mod ") {
            if code.ends_with(';') {
                self.declared.push(self.path_of(name));
            } else if code.ends_with('{') {
                self.module.push(name.to_owned());
                self.inline.push(indentation);
            }
        } else if code == "}" && self.inline.last() == Some(&indentation) {
            self.inline.pop();
            self.module.pop();
        }
    }

    fn end_item(&mut self, test: Option<String>) {
        let ignored = std::mem::take(&mut self.ignored);
        self.is_test = false;
        for (line, case) in self.above.drain(..) {
            let file = self.file.to_owned();
            self.sources.claims.push(Claim {
                file,
                line,
                case,
                test: test.clone(),
            });
        }
        self.sources.tests.extend(test.map(|path| Test { path, ignored }));
    }

    fn path_of(&self, name: &str) -> String {
        let module = self.module.iter().map(String::as_str);
        module.chain([name]).collect::<Vec<_>>().join("::")
    }
}

/// The name that follows a keyword, which visibility and `async` may precede.
fn name_after<'a>(code: &'a str, keyword: &str) -> Option<&'a str> {
    let mut rest = code;
    for before in ["pub ", "pub(super) ", "pub(crate) ", "async "] {
        rest = rest.strip_prefix(before).unwrap_or(rest);
    }
    let rest = rest.strip_prefix(keyword)?;
    let end = rest.find(|character: char| !character.is_alphanumeric() && character != '_');
    Some(&rest[..end.unwrap_or(rest.len())])
}

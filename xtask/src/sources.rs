//! The repository's own source files.

use std::fs;
use std::path::{Path, PathBuf};

/// A file with its text.
#[derive(Debug)]
pub struct Source {
    /// Path from the repository's root, with `/`.
    pub path: String,
    /// The whole text.
    pub text: String,
}

/// Folders that hold nothing of ours.
const SKIPPED: [&str; 4] = ["target", ".git", ".tollgate", "node_modules"];

/// The repository's root.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// All files with one of these endings, sorted by path.
///
/// # Panics
/// When a file cannot be read: a rule that sees half the files is no rule.
pub fn sources(endings: &[&str]) -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    collect(&root, &root, endings, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn collect(root: &Path, folder: &Path, endings: &[&str], found: &mut Vec<Source>) {
    let entries = fs::read_dir(folder).expect("the repository can be read");
    for entry in entries {
        let path = entry.expect("the repository can be read").path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            if !SKIPPED.contains(&name.as_str()) {
                collect(root, &path, endings, found);
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            let relative = path.strip_prefix(root).unwrap_or(&path);
            let text = fs::read_to_string(&path).expect("sources are UTF-8");
            found.push(Source {
                path: relative.to_string_lossy().into_owned(),
                text,
            });
        }
    }
}
